"""A fit that continues from fitted towers: items, spaces, validation, interrupts and errors."""

import signal
import sys

import numpy as np
import pytest
from sklearn.base import clone

from skue import CooccurrenceItemEmbedder, Histories, ItemEmbeddings, TwoTowerUserEncoder
from skue.encoders.two_tower import _trainer, _warm_start
from skue.encoders.two_tower._start_spaces import with_new_items
from skue.histories._fingerprints import LearnedHistories

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(40, 6)), space_id="toys")


def made_up_lists(n_users=100, n_items=40, seed=0):
    """The next item is near the last one, so that something can be learned."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-2, 4, size=(n_users, 9)).cumsum(axis=1)
    return ((rng.integers(n_items, size=(n_users, 1)) + steps) % n_items).tolist()


LISTS = made_up_lists()


def encoder_of(item_embeddings=None, **parameters):
    settings = {"max_iter": 2, "batch_size": 256, "random_state": 0, "warm_start": True}
    settings |= {"early_stopping": False, "hidden_layer_sizes": (8,)}
    return TwoTowerUserEncoder(item_embeddings, **{**settings, **parameters})


def small_embedder():
    return CooccurrenceItemEmbedder(n_dims=6)


@pytest.fixture
def fitted():
    return encoder_of(small_embedder()).fit(LISTS)


def fitted_attributes(encoder):
    return {name: value for name, value in vars(encoder).items() if name.endswith("_")}


def test_training_starts_from_the_fitted_towers(fitted):
    towers, items = fitted.parameters_, fitted.item_vectors_
    fitted.set_params(learning_rate_init=1e-9, alpha=0.0).fit(LISTS)
    assert fitted.best_iter_ == 2
    np.testing.assert_allclose(fitted.item_vectors_, items, atol=1e-4)
    for name, value in towers[0].items():
        np.testing.assert_allclose(fitted.parameters_[0][name], value, atol=1e-4)
    scratch = encoder_of(small_embedder(), learning_rate_init=1e-9).fit(LISTS)
    assert np.abs(scratch.item_vectors_ - items).max() > 0.01


def test_without_warm_start_a_second_fit_is_like_the_first():
    once = encoder_of(small_embedder(), warm_start=False).fit(LISTS)
    twice = encoder_of(small_embedder(), warm_start=False).fit(NEW).fit(LISTS)
    first_warm = encoder_of(small_embedder(), warm_start=True).fit(LISTS)
    assert once.encoder_id_ == twice.encoder_id_ == first_warm.encoder_id_


def test_a_clone_starts_from_scratch(fitted):
    expected = fitted.encoder_id_
    fitted.fit(LISTS)
    assert fitted.encoder_id_ != expected
    assert clone(fitted).fit(LISTS).encoder_id_ == expected


NEW = [[*row[:4], 100, *row[4:], 101] for row in LISTS[:40]] + LISTS[40:]


def test_new_items_are_added_and_known_ones_keep_their_rows():
    encoder = encoder_of().fit(LISTS)  # two pairs of towers
    before = encoder.item_embeddings_
    encoder.fit(NEW)
    after = encoder.item_embeddings_
    np.testing.assert_array_equal(after.ids, [*before.ids, 100, 101])
    assert all(len(tower["gate"]) == len(after) for tower in encoder.parameters_)
    assert after.aligned_with == before.space_id != after.space_id
    assert 0 < after.agreement <= 1


def test_the_trained_space_is_rotated_onto_the_fitted_one(fitted, monkeypatch):
    before, unaligned = fitted.item_embeddings_, []
    real = _warm_start.rotated_onto

    def spying(towers, vectors, *arguments):
        unaligned.append(vectors)
        return real(towers, vectors, *arguments)

    monkeypatch.setattr(_warm_start, "rotated_onto", spying)
    fitted.set_params(learning_rate_init=0.1, max_iter=4).fit(NEW)
    after = fitted.item_vectors_
    np.testing.assert_allclose(after @ after.T, unaligned[0] @ unaligned[0].T, atol=1e-5)
    n_old = len(before)
    distances = [np.linalg.norm(v[:n_old] - before.vectors) for v in (after, unaligned[0])]
    assert distances[0] < distances[1]


def test_a_frozen_item_tower_keeps_old_vectors_to_the_bit():
    encoder = encoder_of(ITEMS, item_tower="trained").fit(LISTS)
    before = encoder.item_embeddings_
    encoder.set_params(item_tower="frozen").fit(NEW)
    after = encoder.item_embeddings_
    assert after.space_id == before.space_id
    assert after.ids.tolist() == [*before.ids.tolist(), 100, 101]
    assert after.vectors[: len(before)].tobytes() == before.vectors.tobytes()
    assert after.catalog_id != before.catalog_id


def test_frozen_items_that_are_given_later_get_the_given_vectors():
    encoder = encoder_of(ITEMS).fit(LISTS)
    larger = ITEMS.extend(RNG.normal(size=(1, 6)), [100])
    encoder.set_params(item_embeddings=larger).fit(NEW)
    found = encoder.item_embeddings_
    row = found.lookup([100])[0]
    np.testing.assert_array_equal(found.vectors[row], larger.vectors[-1])
    assert found.ids.tolist()[-1] == 101


def test_a_new_item_starts_at_the_weighted_mean_of_its_neighbours():
    items = ItemEmbeddings(RNG.normal(size=(3, 4)))
    # Item 9 is once beside 0 and twice beside 1; 0 has two events, 1 has three, 2 has one.
    log = Histories.from_lists([[0, 9], [9, 1], [1, 9], [1], [0, 2]])
    larger = with_new_items(items, 1, log)
    expected = items.vectors[0] / np.sqrt(2) + 2 * items.vectors[1] / np.sqrt(3)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(larger.vectors[-1], expected, atol=1e-6)


def test_new_items_among_new_ones_start_at_those_and_lonely_ones_stay_unknown():
    items = ItemEmbeddings(RNG.normal(size=(3, 4)))
    log = Histories.from_lists([[0, 8], [8, 9], [7], [1, 2]])
    larger = with_new_items(items, 1, log)
    assert larger.ids.tolist() == [0, 1, 2, 8, 9]
    np.testing.assert_allclose(larger.vectors[3], items.vectors[0], atol=1e-6)
    np.testing.assert_allclose(larger.vectors[4], items.vectors[0], atol=1e-6)


def as_words(lists):
    return [[f"id-{item}" for item in row] for row in lists]


def learned_from(*logs):
    """What fits know after learning from all events of these logs, one after the other."""
    none = [np.zeros(len(log.codes), dtype=bool) for log in logs]
    learned = LearnedHistories.of(logs[0], none[0])
    for log, held_out in zip(logs[1:], none[1:], strict=True):
        learned = learned.with_later(LearnedHistories.of(log, held_out), learned.count_new(log)[1])
    return learned


def n_new(learned, log):
    return learned.count_new(log)[0].tolist()


UNKNOWN = -1


def test_new_events_are_those_after_the_learned_ones():
    learned = learned_from(Histories.from_lists(as_words(LISTS)))
    n_added = np.random.default_rng(1).integers(0, 4, size=len(LISTS))
    today = [row + [7, 8, 9][:n] for row, n in zip(LISTS, n_added, strict=True)]
    order = np.random.default_rng(2).permutation(len(today))
    log = Histories.from_lists(as_words([today[i] for i in order] + [[3, 3, 3, 3], []]))
    assert n_new(learned, log) == [*n_added[order], UNKNOWN, UNKNOWN]
    assert len(learned.count_new(log)[1]) > 2 * (n_added > 0).sum()


@pytest.mark.parametrize("n_gone", [1, 6])
def test_new_events_are_found_when_the_oldest_are_gone(n_gone):
    rows = np.random.default_rng(3).integers(1000, size=(30, 9)).tolist()
    learned = learned_from(Histories.from_lists(rows))
    log = Histories.from_lists([[*row[n_gone:], 1, 2] for row in rows])
    assert n_new(learned, log) == [2] * 30


def test_the_order_of_events_in_a_basket_does_not_matter():
    rng = np.random.default_rng(4)
    rows, days = rng.integers(50, size=(40, 9)), np.arange(9) // 3
    times = [days.astype(float).tolist()] * 40
    learned = learned_from(Histories.from_lists(rows.tolist(), timestamps=times))
    shuffled = rng.permuted(rows.reshape(40, 3, 3), axis=2).reshape(40, 9)
    assert (shuffled != rows).any(axis=1).all()
    today = Histories.from_lists(
        np.hstack([shuffled, rng.integers(50, size=(40, 2))]).tolist(),
        timestamps=[[*row, 3.0, 3.0] for row in times],
    )
    assert n_new(learned, today) == [2] * 40


def with_ids(lists, users):
    return Histories.from_lists(lists, user_ids=users)


@pytest.mark.parametrize("users", [np.arange(5), [f"u{n}" for n in range(5)]])
def test_users_are_recognised_by_their_ids(users):
    """Their histories are all the same, and one is new."""
    learned = learned_from(with_ids([[1, 2], [1], [1, 2], [1, 2]], users[:4]))
    today = with_ids([[2, 7], [1, 2], [1, 2, 3], [4, 4], [1, 2]], [*users[3::-1], users[4]])
    assert n_new(learned, today) == [1, 0, 2, UNKNOWN, 2]
    later = learned_from(with_ids([[1, 2]], users[:1]), with_ids([[1, 2, 3]], users[:1]))
    assert n_new(later, with_ids([[2, 3, 4]], users[:1])) == [1]


def test_held_out_events_were_not_learned_from():
    yesterday = Histories.from_lists(LISTS)
    held_out = np.zeros(len(yesterday.codes), dtype=bool)
    ends = yesterday.offsets[1:]
    held_out[ends[:40] - 1] = held_out[ends[:40] - 2] = True
    learned = LearnedHistories.of(yesterday, held_out)
    assert n_new(learned, yesterday) == [2] * 40 + [0] * (len(LISTS) - 40)


@pytest.mark.parametrize("with_times", [False, True])
def test_only_new_events_are_held_out(with_times, monkeypatch):
    monkeypatch.setattr(_warm_start, "_FEWEST_HELD_OUT", 5)
    n_old = 80
    today = [[*row, 5, 6] for row in LISTS[:n_old]] + LISTS[n_old:]
    logs = [LISTS, today]
    if with_times:
        logs = [
            Histories.from_lists(
                log, timestamps=[[0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5][: len(row)] for row in log]
            )
            for log in logs
        ]
    encoder = encoder_of(small_embedder(), early_stopping=True, validation_fraction=0.3)
    encoder.fit(logs[0])
    learned = encoder.training_state_.learned
    encoder.fit(logs[1])
    X = logs[1] if with_times else Histories.from_lists(today)
    place = X.offsets[1:].repeat(X.lengths) - np.arange(len(X.codes))
    is_new = place <= np.repeat(n_new(learned, X), X.lengths)
    assert len(encoder.held_out_) >= 20
    assert is_new[encoder.held_out_].all()
    assert not is_new.all()


def test_with_few_new_events_nothing_is_held_out_and_the_last_weights_stay():
    encoder = encoder_of(small_embedder(), early_stopping=True).fit(LISTS)
    assert encoder.validation_scores_
    encoder.fit([*LISTS[:-1], [*LISTS[-1], 3]])
    assert encoder.validation_scores_ == []
    assert encoder.best_iter_ == encoder.n_iter_ == 2


def test_new_examples_are_drawn_first(monkeypatch):
    monkeypatch.setattr(_warm_start, "_MOST_EXAMPLES", 100)
    is_new = np.zeros(1000, dtype=bool)
    is_new[::25] = True
    targets = np.arange(1000) % 10 > 0
    chosen = _warm_start._mostly_new(targets, is_new, np.random.default_rng(0))
    assert chosen.sum() == 100
    assert not (chosen & ~targets).any()
    assert (chosen & is_new).sum() == (targets & is_new).sum() == 20
    chosen = _warm_start._mostly_new(targets, np.arange(1000) < 990, np.random.default_rng(0))
    assert chosen.sum() == 100
    assert chosen[990:].sum() == 9


def test_an_encoder_that_kept_the_average_starts_from_scratch(monkeypatch):
    average = encoder_of(small_embedder(), early_stopping=True)
    monkeypatch.setattr("skue.encoders.two_tower._training._may_be_best", lambda *_: False)
    average.fit(LISTS)
    monkeypatch.undo()
    assert average.best_iter_ == 0
    average.set_params(early_stopping=False, decays=(0.1, 1.0)).fit(NEW)
    assert average.encoder_id_ == clone(average).fit(NEW).encoder_id_
    assert average.item_embeddings_.aligned_with is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"decays": (0.1, 0.2)}, r"the number of decays was 5 in the last fit and is 2 now"),
        ({"hidden_layer_sizes": ()}, r"hidden_layer_sizes was \(8,\) .* is \(\) now"),
        (
            {"item_embeddings": np.ones((40, 7))},
            r"number of dimensions of item_embeddings was 6 in the last fit and is 7 now",
        ),
    ],
)
def test_parameters_that_do_not_match_are_named(fitted, parameters, message):
    before = fitted_attributes(fitted)
    with pytest.raises(ValueError, match=f"{message}.*warm_start=False to learn from scratch"):
        fitted.set_params(**parameters).fit(LISTS)
    after = fitted_attributes(fitted)
    assert before.keys() == after.keys()
    assert all(after[name] is before[name] for name in before)
    fitted.set_params(warm_start=False).fit(LISTS)


def test_other_frozen_vectors_are_refused():
    encoder = encoder_of(ITEMS).fit(LISTS)
    vectors = ITEMS.vectors.copy()
    vectors[3] = -vectors[3]
    with pytest.raises(ValueError, match=r"item_embeddings has other vectors .* 1 items, such as"):
        encoder.set_params(item_embeddings=ItemEmbeddings(vectors)).fit(LISTS)


@pytest.mark.parametrize("X", [[[500, 501], [502]], [["a", "b"]]])
def test_a_log_without_a_known_item_raises(fitted, X):
    before = fitted_attributes(fitted)
    with pytest.raises(ValueError, match=r"nothing to continue from.*warm_start=False"):
        fitted.fit(X)
    assert all(vars(fitted)[name] is value for name, value in before.items())


def test_a_log_without_examples_keeps_the_towers(fitted):
    expected = fitted.transform(LISTS)
    items = fitted.item_embeddings_
    with pytest.warns(UserWarning, match=r"the encoder keeps its fitted towers"):
        fitted.fit([[1], [2]])
    assert fitted.item_embeddings_ is items
    np.testing.assert_array_equal(fitted.transform(LISTS), expected)


def interrupt_at_step(monkeypatch, n):
    """Press Ctrl-C in the middle of an epoch."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    real, steps = _trainer.Trainer._step, []

    def step(trainer, chosen):
        steps.append(1)
        if len(steps) == n:
            signal.raise_signal(signal.SIGINT)
        return real(trainer, chosen)

    monkeypatch.setattr(_trainer.Trainer, "_step", step)
    return steps


def test_an_interrupt_at_a_prompt_leaves_a_whole_encoder(fitted, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    before = fitted.item_embeddings_
    n_steps = interrupt_at_step(monkeypatch, 10**9)
    clone(fitted).fit(NEW)
    monkeypatch.undo()
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    interrupt_at_step(monkeypatch, len(n_steps) * 3 // 4)
    with pytest.raises(KeyboardInterrupt, match="those after epoch 1"):
        fitted.fit(NEW)
    assert fitted.interrupted_
    assert fitted.best_iter_ == 1
    assert fitted.item_embeddings_.aligned_with == before.space_id
    assert len(fitted.item_embeddings_) == len(before) + 2
    assert fitted.transform(NEW).shape == (len(NEW), 6)
    monkeypatch.undo()
    fitted.fit(NEW)
    assert not fitted.interrupted_
