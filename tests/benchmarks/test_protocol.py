"""The audit of protocols: its arithmetic by hand and by slow loops, on tiny logs."""

from pathlib import Path

import numpy as np
import pytest

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def protocol():
    """Import the benchmark, which is not part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import protocol

        yield protocol


def histories(n_users=80, n_items=40, *, instants=False):
    """Return histories without repeats in which item i is followed by i + 1 most of the time."""
    rng = np.random.default_rng(0)
    lists = []
    for _ in range(n_users):
        steps = np.where(rng.random(7) < 0.8, 1, rng.integers(n_items, size=7))
        items = (rng.integers(n_items) + np.cumsum(steps)) % n_items
        lists.append(items.tolist() if instants else list(dict.fromkeys(items.tolist())))
    lists = [row for row in lists if len(row) > 4]
    times = [np.arange(7) // 2 for _ in lists] if instants else None
    return Histories.from_lists(lists, timestamps=times)


def test_ties_are_shared_out_or_all_counted_as_hits(protocol):
    above, tied = np.array([0, 9, 8, 10]), np.array([1, 2, 4, 1])
    recall, ndcg = protocol.hits(above, tied)
    assert recall.tolist() == [1, 1 / 2, 2 / 4, 0]
    of_rank = [1 / np.log2(rank + 1) for rank in range(1, 11)]
    expected = [of_rank[0], of_rank[9] / 2, (of_rank[8] + of_rank[9]) / 4, 0]
    assert ndcg == pytest.approx(expected)
    recall, ndcg = protocol.hits(above, 1)
    assert recall.tolist() == [1, 1, 1, 0]
    assert ndcg == pytest.approx([of_rank[0], of_rank[9], of_rank[8], 0])


def test_hits_among_sampled_negatives_are_binomial(protocol):
    p = np.array([0, 1 / 4, 1])
    recall, ndcg = protocol.sampled_hits(p, n=2, k=2)
    assert recall == pytest.approx([1, 15 / 16, 0])
    # Of two negatives, none is above with 9/16, one with 6/16.
    assert ndcg == pytest.approx([1, 9 / 16 + 6 / 16 / np.log2(3), 0])


def test_places_agree_with_a_slow_loop(protocol):
    vectors = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6], [0.6, 0.8], [0, 1], [-1, 0]])
    items = ItemEmbeddings(vectors, ids=list("abcdef"))
    X = Histories.from_lists([list("a"), list("ab"), list("dz"), list("e")])
    y = np.array(["b", "e", "c", "unknown"], dtype=object)
    n_events = np.array([5, 4, 3, 2, 1, 6], dtype=np.float32)
    encoder = DecayAverageUserEncoder(items, decay=0.0).fit(X)
    found = protocol.places(encoder, X, y, n_events)
    vectors, users = items.vectors.astype(float), encoder.transform(X).astype(float)
    for row, (history, target) in enumerate(zip(X, y, strict=True)):
        above = tied = others = popular = events = 0
        own = users[row] @ vectors["abcdef".index(target)] if target in "abcdef" else -np.inf
        for item, name in enumerate("abcdef"):
            if name in history or name == target:
                continue
            score, others, events = users[row] @ vectors[item], others + 1, events + n_events[item]
            half = 0.5 * (score > own + 1e-6) + 0.5 * (score > own - 1e-6)
            above, tied = above + (half == 1), tied + (half == 0.5)
            popular += half * n_events[item]
        assert (found.above[row], found.tied[row]) == (above, tied + 1)
        assert found.share_above[row] == pytest.approx((above + tied / 2) / others)
        assert found.popular_above[row] == pytest.approx(popular / events)
    assert found.tied.tolist() == [2, 1, 2, 1]


def test_scores_in_bfloat16_keep_eight_bits(protocol):
    values = np.array([1 + 2**-9, 1 + 3 * 2**-9, -0.3], dtype=np.float32)
    assert protocol.as_bfloat16(values).tolist() == [1, 1 + 2**-7, -0.30078125]


def test_only_the_largest_component_of_a_history_is_kept(protocol):
    near = np.eye(6)[[0, 0, 0, 1, 1, 2]] + 0.01 * np.eye(6)
    items = ItemEmbeddings(near, ids=list("abcdef"))
    X = Histories.from_lists([list("dafbec"), list("af"), list("zabd")])
    assert [list(row) for row in protocol.denoised(X, items)] == [list("abc"), [], list("ab")]
    kept = protocol.denoised(X, items, keep_unconnected=True)
    assert [list(row) for row in kept] == [list("abc"), list("af"), list("ab")]
    cut = protocol.denoised(X, items)
    assert protocol.keeps_last(X, cut).tolist() == [True, False, False]


@pytest.mark.parametrize("instants", [False, True])
def test_every_row_is_measured_and_has_a_source(protocol, instants):
    import _tables

    grid = [{"n_dims": 6, "window": 2, "decay": decay} for decay in (0.1, 1.0)]
    audit = protocol.Audit("tiny", histories(instants=instants), grid)
    found = audit.run()
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) <= set(_tables.PROTOCOL_ROWS)
    assert all(0 <= row["N@10"] <= row["R@10"] <= 1 for row in rows.values())
    first = found["rows"][0]
    assert rows["the settings that are best on test"]["R@10"] >= first["R@10"] > 0
    if not instants:
        # From all scores at once, and by the scorers of skue.
        exact = protocol.places(audit.encoder, *audit.split.test, np.ones(40, dtype=np.float32))
        recall, ndcg = protocol.hits(exact.above, exact.tied)
        assert recall.mean() == pytest.approx(first["R@10"])
        assert ndcg.mean() == pytest.approx(first["N@10"])
