"""Between fit and transform: columns that fit used, fits in another thread, frozen estimators."""

import pickle
import threading

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    RecallAtK,
    TwoStageRecommender,
    TwoTowerUserEncoder,
    UserEncoder,
    export_index,
)
from skue.encoders._pipelines import find_encoder, unwrapped

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(12, 5)), space_id="toys")
LISTS = [RNG.integers(12, size=RNG.integers(2, 9)).tolist() for _ in range(60)]
TIMES = [np.sort(RNG.integers(0, 5, size=len(row)) * 86400.0).tolist() for row in LISTS]
TIMED = Histories.from_lists(LISTS, timestamps=TIMES)
LIKES = Histories.from_lists(LISTS, weights=[[-1.0, *[1.0] * (len(row) - 1)] for row in LISTS])
TWO_TOWER = TwoTowerUserEncoder(ITEMS, max_iter=1, random_state=0)


def calls(encoder):
    """Every way to hand in histories."""
    return [
        encoder.transform,
        encoder.recommend,
        encoder.coverage,
        lambda X: encoder.score(X, [0] * len(X)),
        lambda X: RecallAtK(5)(encoder, X, [0] * len(X)),
        lambda X: list(encoder.iter_transform(X)),
    ]


@pytest.mark.parametrize(
    ("encoder", "log", "missing"),
    [
        (DecayAverageUserEncoder(ITEMS), LIKES, "weights"),
        (TWO_TOWER, LIKES, "weights"),
        (TWO_TOWER, TIMED, "timestamps"),
        (DecayAverageUserEncoder(ITEMS, age_unit="D"), TIMED, "timestamps"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, UserEncoder) else "",
)
def test_histories_without_a_column_that_fit_used_are_refused(encoder, log, missing):
    encoder = clone(encoder).fit(log)
    for call in calls(encoder):
        call(log[:3])
        with pytest.raises(ValueError, match=rf"(has no|needs) {missing}"):
            call(LISTS[:3])
    assert np.isfinite(encoder.transform([[], []])).all()  # no events, so nothing is missing


def test_averages_that_count_steps_need_no_times():
    encoder = DecayAverageUserEncoder(ITEMS).fit(TIMED)
    np.testing.assert_array_equal(encoder.transform(LISTS), encoder.transform(TIMED))


@pytest.mark.parametrize("encoder", [DecayAverageUserEncoder(ITEMS), TWO_TOWER], ids=repr)
def test_weights_that_are_all_one_are_not_needed(encoder):
    ones = Histories.from_lists(LISTS, weights=[[1.0] * len(row) for row in LISTS])
    encoder = clone(encoder).fit(ones)
    np.testing.assert_array_equal(encoder.transform(LISTS), encoder.transform(ones))


def test_a_two_tower_fitted_without_times_does_not_use_times():
    encoder = clone(TWO_TOWER).fit(LISTS)
    np.testing.assert_array_equal(encoder.transform(TIMED), encoder.transform(LISTS))


def test_states_are_not_made_without_weights_that_fit_used():
    encoder = DecayAverageUserEncoder(ITEMS).fit(LIKES)
    with pytest.raises(ValueError, match="X has no weights, but DecayAverageUserEncoder was fit"):
        encoder.update_state(encoder.make_state(LIKES[:1]), [[1]])


class NewestTimeEncoder(UserEncoder):
    """Uses times where there are any."""

    _uses_times = True

    def _encode_events(self, events):
        has = np.diff(events.offsets) > 0
        vectors = np.zeros((events.n_users, self.item_embeddings_.n_dims), dtype=np.float32)
        vectors[has, 0 if events.timestamps is None else 1] = 1
        return vectors, has


def test_an_encoder_of_your_own_can_say_that_it_uses_times():
    timed, untimed = NewestTimeEncoder(ITEMS).fit(TIMED), NewestTimeEncoder(ITEMS).fit(LISTS)
    assert timed.transform(TIMED)[:, 1].all()
    with pytest.raises(ValueError, match="X has no timestamps, but NewestTimeEncoder was fitted"):
        timed.transform(LISTS)
    assert untimed.transform(TIMED)[:, 0].all()


def test_a_refit_in_another_thread_is_seen_as_a_whole():
    """Items of the two fits point in opposite directions, so a mixture would rank them last."""
    spaces = [ItemEmbeddings(sign * np.eye(4), ids=list("abcd")) for sign in (1, -1)]
    fits = [DecayAverageUserEncoder(items) for items in spaces]
    log, served = [["a", "b"], ["c"]], clone(fits[0]).fit([["a"]])
    ids = {fit.fit(log).encoder_id_ for fit in fits} | {served.encoder_id_}
    stop, failures, n_answers = threading.Event(), [], 0

    def ask():
        nonlocal n_answers
        while not stop.is_set():
            found, scores = served.recommend([["a"]], 1)
            n_answers += 1
            if found[0, 0] != "a" or scores[0, 0] < 0.99 or served.encoder_id_ not in ids:
                failures.append((found, scores, served.encoder_id_))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(60):
        served.set_params(item_embeddings=spaces[turn % 2]).fit(log)
    stop.set()
    for thread in threads:
        thread.join()
    assert n_answers > 5
    assert not failures


def test_frozen_estimators_are_unwrapped_wherever_they_are(tmp_path):
    def wrap(estimator):
        return FrozenEstimator(FrozenEstimator(estimator))

    encoder = DecayAverageUserEncoder(ITEMS).fit(LISTS)
    assert unwrapped(wrap(encoder)) is encoder
    pipeline = make_pipeline(wrap(encoder)).fit(LISTS)
    assert find_encoder(pipeline).encoder is encoder
    y = [row[0] for row in LISTS]
    expected = RecallAtK(3)(encoder, LISTS, y)
    assert RecallAtK(3)(wrap(encoder), LISTS, y) == RecallAtK(3)(pipeline, LISTS, y) == expected
    export_index(wrap(encoder), tmp_path)
    recommender = TwoStageRecommender(wrap(encoder), random_state=0).fit(TIMED)
    assert find_encoder(recommender).encoder.encoder_id_ == encoder.encoder_id_
    frozen = RecallAtK(3)(wrap(recommender), TIMED, y)
    assert frozen == RecallAtK(3)(recommender, TIMED, y)


def test_a_pickle_with_objects_of_another_scikit_learn_says_which_is_needed(monkeypatch):
    log = Histories.from_lists(LISTS * 5, timestamps=TIMES * 5)
    recommender = TwoStageRecommender(DecayAverageUserEncoder(ITEMS), random_state=0).fit(log)
    encoder = DecayAverageUserEncoder(ITEMS).fit(LISTS)
    assert recommender.ranker_ is not None
    monkeypatch.setattr("skue.encoders._recommender.sklearn.__version__", "1.2.3")
    of_recommender, of_encoder = pickle.dumps(recommender), pickle.dumps(encoder)
    monkeypatch.undo()
    with pytest.raises(
        ValueError,
        match=r"TwoStageRecommender was saved with scikit-learn 1\.2\.3, and this is scikit-learn "
        r"\d.*Install scikit-learn 1\.2\.3, or fit it again",
    ):
        pickle.loads(of_recommender)
    # There are no objects of scikit-learn in an encoder.
    np.testing.assert_array_equal(
        pickle.loads(of_encoder).transform([[1]]), encoder.transform([[1]])
    )
