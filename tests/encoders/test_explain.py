"""``explain``: the events of a history that speak for what is recommended."""

import numpy as np
import pytest

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    MixedUserEncoder,
    ProfileUserEncoder,
    TwoTowerUserEncoder,
)

pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(30, 6)))
LISTS = [RNG.integers(30, size=n).tolist() for n in RNG.integers(2, 8, size=60)]
TOWERS = {"hidden_layer_sizes": (), "max_iter": 1, "random_state": 0}


@pytest.mark.parametrize(
    "encoder",
    [
        DecayAverageUserEncoder(ITEMS, decay=0.3),
        MixedUserEncoder(ITEMS),
        ProfileUserEncoder(n_dims=4),
        TwoTowerUserEncoder(ITEMS, **TOWERS),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_a_gain_is_the_cosine_less_that_of_the_history_without_the_event(encoder):
    encoder.fit(LISTS)
    items = encoder.item_embeddings_
    table = encoder.explain(LISTS[:5], k=2, n_events=10)
    assert len(table) == 2 * sum(map(len, LISTS[:5]))
    for row in table.itertuples():
        history = list(LISTS[row.user])
        assert history.pop(row.event) == row.because
        target = items.vectors[items.lookup([row.item])[0]]
        whole, without = (
            encoder.transform([part])[0] @ target for part in (LISTS[row.user], history)
        )
        assert row.score == pytest.approx(whole, abs=1e-5)
        assert row.gain == pytest.approx(whole - without, abs=1e-5)


def test_the_events_with_the_largest_gains_come_first_below_each_item():
    encoder = DecayAverageUserEncoder(ITEMS).fit(LISTS)
    every, some = (encoder.explain(LISTS[:1], k=3, n_events=n) for n in (100, 2))
    for rank in (1, 2, 3):
        gains = np.sort(every.gain[every["rank"] == rank])[::-1]
        np.testing.assert_array_equal(some.gain[some["rank"] == rank], gains[:2])


def test_the_only_known_event_has_all_of_the_cosine_and_nobody_else_a_row():
    histories = Histories.from_lists([[3, 99], [98]], user_ids=["ann", "bob"])
    table = (
        DecayAverageUserEncoder(ITEMS, cold_start="raise").fit(LISTS).explain(histories[:1], k=1)
    )
    assert table[["user", "item", "because", "event"]].values.tolist() == [["ann", 3, 3, 0]]
    assert table.gain.tolist() == pytest.approx([1.0])
    known = DecayAverageUserEncoder(ITEMS).fit(LISTS).explain(histories, k=1)
    assert known.user.tolist() == ["ann"]
