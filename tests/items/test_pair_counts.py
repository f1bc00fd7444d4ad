"""Counts of pairs in chunks, by workers, and in several calls: always the same sums."""

import tracemalloc

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import CooccurrenceItemEmbedder, Histories
from skue.items import _pair_counts
from skue.items._pair_counts import count_pairs
from skue.items._spectral import learned_items
from skue.kernels import _pair_counts as _cooccurrence

lists_of_items = st.lists(st.lists(st.integers(0, 6), max_size=7), min_size=1, max_size=6)
TRANSITIONS = {"window": 5, "smoothing": 0.1, "directed": True}


def random_log(n_users=300, n_items=40, seed=0):
    rng = np.random.default_rng(seed)
    lists = [rng.integers(0, n_items, rng.integers(0, 12)).tolist() for _ in range(n_users)]
    times = [np.sort(rng.integers(0, 8, len(row))).tolist() for row in lists]
    weights = [rng.choice([-1.0, 1.0, 2.0], len(row)).tolist() for row in lists]
    return Histories.from_lists(lists, timestamps=times, weights=weights)


def slow_pairs(histories, window, directed):
    """Count by loops over the instants of every user, in double precision."""
    table = np.zeros((len(histories.vocabulary),) * 2)
    for user in range(len(histories)):
        events = slice(histories.offsets[user], histories.offsets[user + 1])
        columns = zip(
            histories.codes[events], histories.timestamps[events], histories.weights[events],
            strict=True,
        )  # fmt: skip
        baskets = {}
        for code, time, weight in columns:
            if weight > 0:
                baskets.setdefault(time, set()).add(int(code))
        baskets = [baskets[time] for time in sorted(baskets)]
        for i, earlier in enumerate(baskets):
            for d, later in enumerate(baskets[i : i + window + 1]):
                for a in earlier:
                    for b in later:
                        if directed and d and a != b:
                            table[a, b] += 1 / d
                        elif not directed and a != b and (d or a < b):
                            table[min(a, b), max(a, b)] += 1 / max(d, 1)
    return table


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(_pair_counts, "CHUNK_EVENTS", 100)


@pytest.mark.parametrize("block", [1, 2**22])
@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("directed", [False, True])
def test_counts_in_chunks_are_those_of_a_slow_loop(
    small_chunks, monkeypatch, block, window, directed
):
    monkeypatch.setattr(_cooccurrence, "_BLOCK", block)
    log = random_log(60)
    counts = count_pairs(log, window=window, directed=directed)
    expected = slow_pairs(log, window, directed)
    assert expected.any()
    np.testing.assert_allclose(counts.pairs.toarray(), expected, rtol=1e-6)
    assert counts.n_events == (log.weights > 0).sum()


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("size", [37, 1000])
def test_counts_have_the_same_bits_for_every_chunk_size(monkeypatch, size, directed):
    log = random_log()
    expected = count_pairs(log, window=5, directed=directed)
    monkeypatch.setattr(_pair_counts, "CHUNK_EVENTS", size)
    found = count_pairs(log, window=5, directed=directed)
    np.testing.assert_array_equal(found.pairs.toarray(), expected.pairs.toarray())
    assert found[2:] == expected[2:]


def test_every_number_of_workers_gives_the_same_vectors(small_chunks):
    log = random_log()
    expected = CooccurrenceItemEmbedder(n_dims=8).fit(log).item_embeddings_
    with joblib.parallel_config(backend="threading"):
        found = CooccurrenceItemEmbedder(n_dims=8, n_jobs=2).fit(log).item_embeddings_
        transitions = learned_items(log, 8, n_jobs=2, **TRANSITIONS)
    assert found.catalog_id == expected.catalog_id
    assert transitions.catalog_id == learned_items(log, 8, **TRANSITIONS).catalog_id


def test_counting_a_memory_mapped_log_does_not_copy_it(monkeypatch, tmp_path):
    monkeypatch.setattr(_pair_counts, "CHUNK_EVENTS", 1000)
    rng = np.random.default_rng(0)
    n_users = 20_000
    log = Histories(
        rng.integers(0, 20, 4 * n_users),
        np.arange(n_users + 1) * 4,
        np.arange(20),
        timestamps=np.arange(4.0 * n_users),
        weights=rng.choice([-1.0, 1.0], 4 * n_users),
    )
    log.save(tmp_path / "log.npz")
    mapped = Histories.load(tmp_path / "log.npz", mmap=True)
    tracemalloc.start()
    count_pairs(mapped[:100], window=2)
    tracemalloc.reset_peak()
    count_pairs(mapped, window=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < log.codes.nbytes


@settings(max_examples=25)
@pytest.mark.filterwarnings("ignore:No two items appear together")
@given(lists_of_items, lists_of_items)
def test_partial_fit_counts_the_new_rows_as_separate_users(earlier, later):
    if not any(earlier):
        earlier = [*earlier, [3]]
    whole = CooccurrenceItemEmbedder(n_dims=3).fit(earlier + later)
    parts = CooccurrenceItemEmbedder(n_dims=3).fit(earlier).partial_fit(later)
    np.testing.assert_array_equal(parts.pair_counts_.toarray(), whole.pair_counts_.toarray())
    np.testing.assert_array_equal(parts.counted_item_ids_, whole.counted_item_ids_)
    assert (parts.n_events_, parts.n_repeats_) == (whole.n_events_, whole.n_repeats_)
    assert parts.item_embeddings_.catalog_id == whole.item_embeddings_.catalog_id


def test_partial_fit_keeps_counts_of_items_in_any_order():
    unsorted = Histories([0, 1, 1, 2], [0, 2, 4], [9, 5, 7])
    embedder = CooccurrenceItemEmbedder(n_dims=2, window=1).fit(unsorted).partial_fit([[5, 9, 6]])
    assert embedder.counted_item_ids_.tolist() == [5, 6, 7, 9]
    expected = [[0, 0, 1, 2], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(embedder.pair_counts_.toarray(), expected)


def test_partial_fit_with_another_window_says_what_to_do():
    embedder = CooccurrenceItemEmbedder(n_dims=2).fit([[1, 2]]).set_params(window=3)
    with pytest.raises(ValueError, match="window=3, but the counts so far are of window=5"):
        embedder.partial_fit([[1, 2]])


def test_the_pairs_of_one_history_with_large_baskets_are_bounded():
    n_events = 200_000
    times = np.append(np.zeros(n_events - 10_000), np.repeat(np.arange(1.0, 5), 2500))
    bot = Histories(np.arange(n_events), [0, n_events], np.arange(n_events), timestamps=times)
    tracemalloc.start()
    counts = count_pairs(bot, window=5, directed=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    n_later = 2**24 // 10_000
    assert 0.7 * n_later * 10_000 < counts.pairs.nnz <= n_later * 10_000
    assert peak < 10**9


@pytest.mark.parametrize("n_events", [10_000, 10_001])
def test_only_the_newest_ten_thousand_events_of_a_history_are_counted(n_events):
    # The oldest pair is of the only two events of its items.
    codes = np.append([0, 1], np.arange(n_events - 2) % 2 + 2)
    histories = Histories(np.append(codes, [4, 5]), [0, n_events, n_events + 2], np.arange(6))
    counts = count_pairs(histories, window=1)
    assert counts.n_events == 10_002
    assert counts.pairs[0, 1] == (n_events == 10_000)
    assert counts.pairs[2, 3] == n_events - 3
    assert counts.pairs[4, 5] == 1
