"""What the two-tower encoder makes of bad input and of long histories."""

import numpy as np
import pytest

from skue import Histories, ItemEmbeddings, TwoTowerUserEncoder

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(40, 5)))
LISTS = [RNG.integers(40, size=RNG.integers(2, 9)).tolist() for _ in range(80)]


def encoder_of(item_embeddings=ITEMS, **parameters):
    return TwoTowerUserEncoder(
        item_embeddings, **{"max_iter": 2, "batch_size": 64, "random_state": 0, **parameters}
    )


def assert_unit(vectors):
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


TOO_LITTLE = {
    "one user": LISTS[:1],
    "one instant": Histories.from_lists(LISTS, timestamps=[[0.0] * len(row) for row in LISTS]),
}


@pytest.mark.parametrize("X", TOO_LITTLE.values(), ids=TOO_LITTLE)
def test_too_few_examples_warn_and_give_an_average(X):
    with pytest.warns(UserWarning, match=r"too few: the encoder is a plain average.*longer"):
        encoder = encoder_of().fit(X)
    assert encoder.n_iter_ == 0
    assert len(encoder.parameters_[0]["decay"]) == 1
    assert_unit(encoder.transform(X))


@pytest.mark.parametrize("X", [LISTS[:1], LISTS], ids=["one user", "many"])
def test_empty_validation_warns_and_early_stopping_false_trains_without_it(X):
    with pytest.warns(UserWarning, match=r"0 to validate by.*set early_stopping=False"):
        encoder_of(validation_fraction=1e-6).fit(X)
    encoder = encoder_of(early_stopping=False).fit(X)
    assert encoder.best_iter_ == encoder.n_iter_ > 0
    assert encoder.validation_scores_ == []


def test_one_item_gives_one_vector():
    encoder = encoder_of([[1.0, 2.0]], negatives="sampled").fit([[0] * 5] * 30)
    assert encoder.n_iter_ > 0
    vectors = encoder.transform([[0], [0, 0, 0]])
    assert_unit(vectors)
    assert encoder.recommend([[0]], k=1)[0].tolist() == [[0]]


def test_y_of_another_length_is_rejected():
    with pytest.raises(ValueError, match=r"one row per user, got 80 rows in X and 3 in y"):
        encoder_of(targets="y").fit(LISTS, [1, 2, 3])


LABELS = {
    "unknown numbers": ([100, 101] * 40, r"none of the 80 ids in y.*set targets='history'"),
    "names": (
        ["churns", "stays"] * 40,
        r"item ids of y must be of one type, got 'churns', but X has \d+",
    ),
    "booleans": (np.arange(80) % 2 == 0, r"y must be integers or strings, got dtype bool"),
    "fractions": (np.full(80, 0.5), r"y must be whole numbers or strings, got 0.5"),
}


@pytest.mark.parametrize(("labels", "message"), LABELS.values(), ids=LABELS)
def test_class_labels_are_rejected_as_targets(labels, message):
    with pytest.raises(ValueError, match=message):
        encoder_of(targets="y").fit(LISTS, labels)


def test_unknown_items_in_y_are_counted_and_ignored():
    y = [[3]] * 40 + [[3, 99]] * 25 + [[98, 99]] * 15
    known = [[3]] * 65 + [[]] * 15
    settings = {"targets": "y", "early_stopping": False}
    encoder = encoder_of(**settings).fit(LISTS, y)
    assert encoder.n_unknown_targets_ == 55
    expected = encoder_of(**settings).fit(LISTS, known)
    assert expected.n_unknown_targets_ == 0
    assert encoder.encoder_id_ == expected.encoder_id_


def test_a_history_of_ten_thousand_events_can_be_fitted_and_encoded():
    long = RNG.integers(40, size=10_000)
    encoder = encoder_of(max_iter=1).fit([*LISTS, long])
    vectors = encoder.transform([long, LISTS[0]])
    assert_unit(vectors)
    np.testing.assert_allclose(encoder.transform([LISTS[0]]), vectors[1:], atol=1e-6)
    encoder.set_params(max_history=30)
    np.testing.assert_allclose(
        encoder.transform([long]), encoder.transform([long[-30:]]), atol=1e-6
    )


def test_training_uses_at_most_the_newest_hundred_events():
    """Dislikes are no targets, so each history is one example: all of it, and y."""

    def weights_after(histories):
        disliked = Histories.from_lists(histories, weights=np.full(histories.shape, -1.0))
        settings = {"targets": "y", "early_stopping": False, "event_dropout": 0.0}
        return encoder_of(**settings).fit(disliked, np.arange(len(histories))).parameters_[0]

    recent = RNG.integers(40, size=(30, 100))
    kept = weights_after(recent)
    older = weights_after(np.hstack([RNG.integers(40, size=(30, 200)), recent]))
    newer = weights_after(np.hstack([recent, RNG.integers(40, size=(30, 1))]))
    np.testing.assert_array_equal(older["decay"], kept["decay"])
    np.testing.assert_array_equal(older["weight0"], kept["weight0"])
    assert np.abs(newer["decay"] - kept["decay"]).max() > 1e-6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (8, 0)}, r"hidden_layer_sizes must be positive.*Use \(\) for none"),
        ({"decays": (0.1, -1.0)}, "decays must be one number >= 0 per channel"),
        ({"item_tower": "half"}, "'item_tower' parameter of TwoTowerUserEncoder must be"),
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"random_state": "x"}, "'random_state' parameter"),
    ],
)
def test_a_parameter_out_of_range_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        encoder_of(**parameters).fit(LISTS)


def test_weights_of_an_item_that_cancel_give_no_nan():
    """A like and a dislike of one item at one time: the item drops out, as it does for averages."""
    rng = np.random.default_rng(0)
    lists = [rng.integers(30, size=8).tolist() for _ in range(80)]
    weights = [[1.0, -1.0] * 4 for _ in lists]
    times = [[day // 2 * 86400.0 for day in range(8)] for _ in lists]
    for row in lists:
        row[1] = row[0]
    X = Histories.from_lists(lists, timestamps=times, weights=weights)
    encoder = encoder_of(max_iter=1).fit(X)
    cancelled = Histories.from_lists([[4, 4]], timestamps=[[0.0, 0.0]], weights=[[1.0, -1.0]])
    assert np.isfinite(encoder.transform(X)).all()
    np.testing.assert_array_equal(encoder.transform(cancelled)[0], encoder.fallback_vector_)
