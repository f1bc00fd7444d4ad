"""The HTML representation: the space of items in one line, links that lead somewhere."""

import re
from html import unescape
from importlib import metadata

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

import skue
import skue._html
from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    ItemEmbeddings,
    MixedUserEncoder,
    TwoTowerUserEncoder,
)

ENCODERS = [DecayAverageUserEncoder, MixedUserEncoder, TwoTowerUserEncoder]
ITEMS = ItemEmbeddings(np.eye(3), ids=["tea", "cup", "saw"], space_id="shop-1")


def caption(estimator):
    """Return the line under the encoder's name."""
    found = re.findall(r'<div class="caption">(.*?)</div>', estimator._repr_html_(), re.S)
    assert len(found) == 1
    return unescape(found[0])


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.__name__)
def test_the_space_of_items_is_one_line(encoder):
    assert caption(encoder(ITEMS)) == "items: 3 × 3, space shop-1"


def test_an_unnamed_space_shows_its_hash():
    items = ItemEmbeddings(np.eye(3))
    assert caption(DecayAverageUserEncoder(items)) == f"items: 3 × 3, space {items.space_id}"


def test_before_fit_the_line_says_where_items_will_come_from():
    assert caption(DecayAverageUserEncoder()) == "items: learned from the log"
    embedder = CooccurrenceItemEmbedder(n_dims=2)
    assert caption(DecayAverageUserEncoder(embedder)) == "items: by CooccurrenceItemEmbedder"
    assert caption(DecayAverageUserEncoder(np.ones((2000, 3)))) == "items: 2,000 × 3"


def test_after_fit_the_line_is_about_the_space_that_is_searched():
    encoder = DecayAverageUserEncoder(CooccurrenceItemEmbedder(n_dims=2))
    encoder.fit([["tea", "cup"], ["cup", "saw"]])
    assert caption(encoder) == f"items: 3 × 2, space {encoder.space_id_}"


def test_the_diagram_of_a_pipeline_does_not_grow_with_the_items():
    def length(n_items):
        vectors = np.random.default_rng(0).normal(size=(n_items, 8))
        encoder = DecayAverageUserEncoder(ItemEmbeddings(vectors)).fit([[0, 1], [2]])
        return len(make_pipeline(encoder)._repr_html_())

    assert abs(length(5_000) - length(50)) < 1_000


@pytest.mark.parametrize(
    "name", [name for name in skue.__all__ if hasattr(getattr(skue, name), "get_params")]
)
def test_the_link_leads_to_the_page_of_the_estimator(name, monkeypatch):
    monkeypatch.setenv("SKUE_DOCS_URL", "https://docs.example/skue/")
    link = getattr(skue, name)()._get_doc_link()
    # The page that the API reference makes for every public name.
    assert link == f"https://docs.example/skue/api/generated/skue.{name}.html"
    assert f'href="{link}"' in getattr(skue, name)()._repr_html_()


def test_the_address_comes_from_the_package_where_it_names_one(monkeypatch):
    written = metadata.metadata("skue")
    written["Project-URL"] = "Documentation, https://docs.example/latest"
    monkeypatch.delenv("SKUE_DOCS_URL", raising=False)
    monkeypatch.setattr(skue._html, "metadata", lambda name: written)
    link = DecayAverageUserEncoder()._get_doc_link()
    assert link == "https://docs.example/latest/api/generated/skue.DecayAverageUserEncoder.html"


def test_without_an_address_there_is_no_link(monkeypatch):
    monkeypatch.setenv("SKUE_DOCS_URL", "")
    assert DecayAverageUserEncoder()._get_doc_link() == ""
