"""What the page of a report says: each figure once, recall by activity, and lists of a few."""

import html
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from skue import Histories
from skue.compare import _report
from skue.compare._contenders import DESCRIPTIONS
from skue.compare._item_features import FeatureFile
from skue.compare._report import _activity, _costs, _other_figures, _parts, _people, page
from skue.compare._result import GENERATED

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def written(small):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_report, "_svg", lambda figure, axes: "")
        return page(small)


def test_the_recall_by_activity_is_the_mean_of_the_users_with_so_many_events():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, size=200)
    queries = Histories.from_lists([[1] * length for length in lengths])
    recall = rng.random(200)
    comparison = SimpleNamespace(
        rows=[SimpleNamespace(name="mix")],
        split=SimpleNamespace(queries=queries),
        per_user={"mix": recall},
    )
    content, n_users = _activity(comparison), 0
    assert len(content["header"]) == 4
    [(_, cells)] = content["lines"]
    for header, (cell, _) in zip(content["header"], cells, strict=True):
        low, high = (int(word) for word in header.split() if word.isdigit())
        of_them = [recall[user] for user in range(200) if low <= lengths[user] <= high]
        assert float(cell) == pytest.approx(np.mean(of_them), abs=6e-4)
        n_users += len(of_them)
    assert n_users == 200


def test_if_all_users_have_equally_many_events_there_is_no_recall_by_activity(small):
    assert set(small.split.queries.lengths) == {6}
    assert _activity(small)["header"] == []


def test_a_kind_that_all_items_or_users_belong_to_is_left_out(small):
    assert 0 < small.shares["repeat"] < 1
    assert small.shares["cold"] == 0
    assert [header.split(" (")[0] for header in _parts(small)["header"]] == [
        "had before",
        "new to them",
    ]
    nothing_twice = replace(small, shares={**small.shares, "repeat": 0.0})
    assert _parts(nothing_twice)["header"] == []
    assert {"repeat", "explore"} <= set(small.cells())
    assert not {"repeat", "explore"} & set(nothing_twice.cells())


def test_no_two_tables_of_the_page_share_a_column(small):
    tables = [_costs(small), _parts(small), _report._lists(small), _other_figures(small)]
    headers = [header for table in tables for header in table["header"]]
    assert len(set(headers)) == len(headers) > 10
    k, ranker = small.ks[0], small.best_ranker
    # These are what the bars show.
    assert not {f"recall@{k}", f"against {ranker}"} & set(headers)
    shown_otherwise = {"", f"recall@{k}", f"against {ranker}", "repeat", "explore"}
    shown_otherwise |= {"fit s", "µs/user"}
    assert set(small.cells()) - shown_otherwise < set(headers)


def test_the_cost_of_a_list_is_that_of_the_figures(small):
    costs = _costs(small)
    assert costs["header"] == ["to learn, s", "a vector, µs", f"{small.ks[0]} items, ms"]
    for row, (name, cells) in zip(small.rows, costs["lines"], strict=True):
        assert name == row.name
        assert row.recommend_microseconds > 0
        assert float(cells[2][0]) == pytest.approx(row.recommend_microseconds / 1000, rel=0.06)


def test_a_table_that_is_too_wide_for_a_phone_has_its_columns_below_each_other(written):
    for kind, table in re.findall(r'<table class="(\w+)">(.*?)</table>', written, re.S):
        n_columns = table.count('<th scope="col">') - 1
        assert kind == "cards" or n_columns <= 4
        assert table.count("data-column=") == n_columns * table.count('<th scope="row">')


def test_every_contender_of_the_page_is_described(small, written):
    assert {row.name for row in small.rows} <= set(DESCRIPTIONS)
    for row in small.rows:
        assert f"<dt>{row.name}</dt><dd>{DESCRIPTIONS[row.name]}</dd>" in html.unescape(written)


def test_the_page_says_which_vectors_are_features_and_how_to_measure_it(small, written):
    assert "<b>ProfileUserEncoder</b>" in written
    assert "python -m skue compare log.csv --target labels.csv" in written


def test_generated_data_have_no_name_of_a_file(small):
    shown = page(replace(small, about={**small.about, "log": GENERATED, "period": []}))
    assert "<b>generated data</b>:" in shown
    assert "Log: generated data (40 users, 320 events, no times)" in shown
    assert "skue compare log.csv --target" in shown


def test_the_page_begins_with_what_to_ship_in_plain_words(small, written):
    said = html.unescape(written)
    assert small.plain_words()
    assert f"<b>Ship '{small.shipped}'.</b> {small.plain_words()}" in said
    assert said.index(small.plain_words()) < said.index(small.verdict()) < said.index("<h2>")


def test_a_user_on_the_page_has_what_the_shipped_contender_recommends_and_what_came_next(small):
    people = _people(small)
    assert people["name"] == small.shipped
    shipped = next(each for each in small.contenders if each.name == people["name"])
    assert len(people["shown"]) == 5
    for user, shown in zip(small.examples, people["shown"], strict=True):
        query = small.split.queries[user : user + 1]
        ids, _ = shipped.estimator.recommend(query, len(shown["best"]))
        assert [item for item, _ in shown["best"]] == [str(item) for item in ids[0]]
        held_out = set(np.atleast_1d(small.split.held_out[user]).tolist())
        assert [is_next for _, is_next in shown["best"]] == [item in held_out for item in ids[0]]
        assert shown["newest"] == [str(item) for item in query[0][::-1][:6]]
        among_k, _ = shipped.estimator.recommend(query, small.ks[0])
        assert dict(shown["next"]) == {str(item): item in among_k[0] for item in held_out}


def test_items_with_a_title_are_shown_by_it(small):
    ids = small.split.train.item_ids.tolist()
    titles = {ids[0]: "blue tea cup", ids[1]: "words " * 50}
    people = _people(replace(small, feature_file=FeatureFile(None, "", titles)))
    plain = _people(small)
    for told, untold in zip(people["shown"], plain["shown"], strict=True):
        for title, item in zip(told["newest"], untold["newest"], strict=True):
            if item == str(ids[0]):
                assert title == "blue tea cup"
            elif item == str(ids[1]):
                assert title == ("words " * 50)[:57] + "..."
            else:
                assert title == item
    shown = [title for person in people["shown"] for title in person["newest"]]
    assert "blue tea cup" in shown
    assert any(title.endswith("...") for title in shown)
