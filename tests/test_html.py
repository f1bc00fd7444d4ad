"""HTML in notebooks: captions and links of estimators, and tables of histories."""

import re
from importlib import metadata

import numpy as np
import pytest

import skue
import skue._estimator
from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
)


@pytest.mark.parametrize("estimator", [DecayAverageUserEncoder(), CooccurrenceItemEmbedder()])
def test_the_link_points_to_the_page_of_the_estimator(estimator, monkeypatch):
    monkeypatch.setenv("SKUE_DOCS_URL", "https://docs.example/skue/")
    # The page that the API reference makes for every public name.
    name = type(estimator).__name__
    link = f"https://docs.example/skue/api/generated/skue.{name}.html"
    assert estimator._get_doc_link() == link
    assert f'href="{link}"' in estimator._repr_html_()


def test_the_documentation_url_is_read_from_the_package_metadata(monkeypatch):
    written = metadata.metadata("skue")
    written["Project-URL"] = "Documentation, https://docs.example/latest"
    monkeypatch.delenv("SKUE_DOCS_URL", raising=False)
    monkeypatch.setattr(skue._estimator, "metadata", lambda name: written)
    link = DecayAverageUserEncoder()._get_doc_link()
    assert link == "https://docs.example/latest/api/generated/skue.DecayAverageUserEncoder.html"


def test_without_a_documentation_url_there_is_no_link(monkeypatch):
    monkeypatch.setenv("SKUE_DOCS_URL", "")
    assert DecayAverageUserEncoder()._get_doc_link() == ""


def cells(histories):
    return re.findall(r"<t[hd]>(.*?)</t[hd]>", histories._repr_html_())


def test_histories_show_their_size_and_period():
    log = {
        "u": ["b", "a", "b"],
        "i": [7, 8, 9],
        "t": np.array(["2026-03-01", "2026-01-31", "2026-02-01"], "M8[s]"),
    }
    html = Histories.from_frame(log, user="u", item="i", time="t")._repr_html_()
    assert "2 users, 3 events, 3 items" in html
    assert "2026-01-31 00:00:00 to 2026-03-01 00:00:00" in html


def test_histories_show_the_newest_items_of_the_first_users():
    batch = Histories.from_lists([[i, 50] for i in range(9)], user_ids=[f"u{i}" for i in range(9)])
    assert cells(batch)[3:6] == ["u0", "2", "0, 50"]
    assert len(cells(batch)) == 3 * 6
    assert cells(Histories.from_lists([range(20)]))[3:] == [
        "0",
        "20",
        "…, 12, 13, 14, 15, 16, 17, 18, 19",
    ]


def test_ids_in_html_are_escaped_and_shortened():
    batch = Histories.from_lists([["<b>x</b>", "y" * 1000]], user_ids=["<script>"])
    html = batch._repr_html_()
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;x&lt;/b&gt;, " + "y" * 39 + "…" in html
    assert "<script>" not in html
    assert len(html.encode()) < 1000


@pytest.mark.parametrize("lists", [[], [[]], [[], []]])
def test_empty_histories_have_a_table(lists):
    assert f"{len(lists)} users, 0 events, 0 items" in Histories.from_lists(lists)._repr_html_()
