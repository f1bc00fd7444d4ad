"""What every encoder promises: forms of X, fallbacks, ids, output, parallel work, pickles."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    MixedUserEncoder,
    ProfileUserEncoder,
    TwoTowerUserEncoder,
    export_index,
    open_index,
)

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(12, 5)), space_id="toys")
LISTS = [[int(i) for i in RNG.integers(12, size=RNG.integers(2, 9))] for _ in range(60)]
TIMES = [[float(t) for t in np.sort(RNG.integers(0, 5, size=len(row)))] for row in LISTS]

TWO_TOWER = TwoTowerUserEncoder(ITEMS, max_iter=1, random_state=0)
OF_GIVEN_ITEMS = [DecayAverageUserEncoder(ITEMS), MixedUserEncoder(ITEMS), TWO_TOWER]
ENCODERS = [*OF_GIVEN_ITEMS, ProfileUserEncoder(n_dims=5)]
every_encoder = pytest.mark.parametrize(
    "encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__
)
AVERAGE = DecayAverageUserEncoder(ITEMS)
every_encoder_of_given_items = pytest.mark.parametrize(
    "encoder", OF_GIVEN_ITEMS, ids=lambda encoder: type(encoder).__name__
)


@pytest.fixture(scope="module", params=ENCODERS, ids=lambda encoder: type(encoder).__name__)
def fitted(request):
    return clone(request.param).fit(LISTS)


def padded(lists):
    width = max(map(len, lists))
    return np.array([row + [-1] * (width - len(row)) for row in lists])


def object_array(lists):
    array = np.empty(len(lists), dtype=object)
    array[:] = lists
    return array


def as_polars(lists):
    return pytest.importorskip("polars").Series("history", lists)


# tests/test_same_answers.py compares the other forms.
FORMS = [object_array, as_polars, padded, lambda lists: [np.array(row) for row in lists]]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_x_gives_the_same_vectors(form):
    expected = clone(AVERAGE).fit(LISTS).transform(LISTS)
    X = form(LISTS)
    np.testing.assert_allclose(clone(AVERAGE).fit(X).transform(X), expected, atol=1e-6)


@every_encoder
def test_list_columns_carry_times_through_a_column_transformer(encoder):
    pandas = pytest.importorskip("pandas")
    encoder = clone(encoder)
    if hasattr(encoder, "age_unit"):
        encoder.set_params(age_unit="instant")
    batch = Histories.from_lists(LISTS, timestamps=TIMES)
    expected = clone(encoder).fit(batch).transform(batch)
    frame = pandas.DataFrame({"items": LISTS, "timestamps": TIMES, "age": 1})
    columns = ColumnTransformer([("h", clone(encoder), ["items", "timestamps"])])
    np.testing.assert_allclose(columns.fit_transform(frame), expected, atol=1e-6)


def test_a_list_column_by_name_is_a_history():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"history": LISTS, "age": 1})
    columns = ColumnTransformer([("h", clone(AVERAGE), "history")])
    expected = clone(AVERAGE).fit(LISTS).transform(LISTS)
    np.testing.assert_allclose(columns.fit_transform(frame), expected, atol=1e-6)


def test_pandas_output_keeps_the_index_of_a_series():
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(LISTS, index=[f"u{i}" for i in range(len(LISTS))])
    output = clone(AVERAGE).set_output(transform="pandas").fit(series).transform(series)
    assert output.index.equals(series.index)
    assert list(output.columns) == list(clone(AVERAGE).fit(series).get_feature_names_out())


def test_vectors_have_length_one_and_are_never_nan(fitted):
    vectors = fitted.transform([[], [99], [1, 1, 1], [0, 99, 3]])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_users_without_a_known_event_get_the_fallback(fitted):
    np.testing.assert_array_equal(fitted.transform([[], [99]]), [fitted.fallback_vector_] * 2)


def test_the_mean_fallback_is_the_mean_of_the_training_vectors(fitted):
    mean = fitted.transform(LISTS).mean(axis=0)
    np.testing.assert_allclose(fitted.fallback_vector_, mean / np.linalg.norm(mean), atol=1e-5)


def test_the_popular_fallback_is_the_mean_item_by_count():
    fitted = DecayAverageUserEncoder(ITEMS, cold_start="popular").fit([[0, 0, 1]])
    mean = 2 * ITEMS.vectors[0] + ITEMS.vectors[1]
    np.testing.assert_allclose(fitted.fallback_vector_, mean / np.linalg.norm(mean), atol=1e-6)


def test_only_the_zero_fallback_does_not_have_length_one():
    fitted = clone(AVERAGE).set_params(cold_start="zero").fit(LISTS)
    assert not fitted.transform([[]]).any()


def test_a_cold_user_raises_on_request():
    fitted = clone(AVERAGE).set_params(cold_start="raise").fit(LISTS)
    with pytest.raises(ValueError, match=r"rows \[1\].*cold_start='mean'"):
        fitted.transform([[1], []])


def test_a_given_fallback_is_normalized():
    fitted = DecayAverageUserEncoder(ITEMS, cold_start=[3, 4, 0, 0, 0]).fit(LISTS)
    np.testing.assert_allclose(fitted.transform([[]])[0], [0.6, 0.8, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cold_start": "warm"}, "cold_start"),
        ({"unknown_item": "drop"}, "unknown_item"),
        ({"max_history": 0}, "max_history"),
        ({"cold_start": [1.0, 2.0]}, "must be a vector with the 5 dimensions"),
        ({"cold_start": [np.nan] * 5}, "must be a finite vector"),
    ],
)
def test_a_parameter_out_of_range_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        clone(AVERAGE).set_params(**parameters).fit(LISTS)


@pytest.mark.parametrize("decay", [-1, np.nan, "fast"])
def test_an_invalid_decay_is_rejected(decay):
    with pytest.raises(ValueError, match=r"'decay' parameter of DecayAverageUserEncoder must be"):
        DecayAverageUserEncoder(ITEMS, decay=decay).fit(LISTS)


def test_a_time_unit_without_timestamps_raises_with_the_way_out():
    with pytest.raises(ValueError, match=r"age_unit='D' needs timestamps.*set age_unit='step'"):
        DecayAverageUserEncoder(ITEMS, age_unit="D").fit(LISTS)


def test_unknown_items_raise_on_request_and_are_named():
    fitted = clone(AVERAGE).set_params(unknown_item="raise").fit(LISTS)
    with pytest.raises(ValueError, match=r"such as \[77\], the first at row 1"):
        fitted.transform([[1], [2, 77]])


def test_unknown_items_warn_on_request():
    fitted = clone(AVERAGE).set_params(unknown_item="warn").fit(LISTS)
    with pytest.warns(UserWarning, match=r"1 events of 1 items"):
        fitted.transform([[2, 77]])


@every_encoder_of_given_items
def test_max_history_keeps_the_newest_known_events(encoder):
    fitted = clone(encoder).set_params(max_history=2).fit(LISTS)
    np.testing.assert_allclose(
        fitted.transform([[5, 1, 99, 2]]), fitted.transform([[1, 2]]), atol=1e-6
    )


def test_recommend_sorts_all_cosines(fitted):
    ids, scores = fitted.recommend(LISTS[:5], k=4)
    cosines = fitted.transform(LISTS[:5]) @ fitted.item_vectors_.T
    np.testing.assert_array_equal(ids, np.argsort(-cosines, axis=1)[:, :4])
    np.testing.assert_allclose(scores, np.sort(-cosines, axis=1)[:, :4] * -1, atol=1e-6)


def test_recommend_excludes_seen_items_and_pads(fitted):
    ids, scores = fitted.recommend([list(range(10))], k=4, exclude_seen=True)
    assert set(ids[0][:2]) == {10, 11}
    assert ids[0][2:].tolist() == [-1, -1]
    assert np.isneginf(scores[0][2:]).all()


def test_coverage_counts_known_events_and_gives_the_status(fitted):
    coverage = fitted.coverage([[1, 99], [], [99]])
    assert coverage.n_events.tolist() == [2, 0, 1]
    assert coverage.n_known.tolist() == [1, 0, 0]
    assert coverage.known_weight_share.tolist() == [0.5, 0, 0]
    assert coverage.status.tolist() == ["encoded", "empty", "unknown"]


def test_coverage_reports_weights_that_cancel():
    batch = Histories.from_lists([[1, 1]], weights=[[1.0, -1.0]])
    fitted = DecayAverageUserEncoder(ITEMS, decay=0.0).fit(LISTS)
    assert fitted.coverage(batch).status.tolist() == ["cancelled"]


@every_encoder
def test_the_same_fit_has_the_same_encoder_id(encoder):
    assert clone(encoder).fit(LISTS).encoder_id_ == clone(encoder).fit(LISTS).encoder_id_


@pytest.mark.parametrize("parameters", [{"n_jobs": 2}, {"unknown_item": "warn"}])
def test_a_parameter_that_does_not_affect_the_vectors_keeps_the_encoder_id(parameters):
    fitted = clone(AVERAGE).fit(LISTS)
    before = fitted.encoder_id_
    assert fitted.set_params(**parameters).encoder_id_ == before


@pytest.mark.parametrize(
    ("encoder", "parameters"),
    [
        (DecayAverageUserEncoder(ITEMS), {"decay": 0.08}),
        (DecayAverageUserEncoder(ITEMS), {"repeat_exponent": 0.5}),
        (DecayAverageUserEncoder(ITEMS), {"cold_start": "popular"}),
        (MixedUserEncoder(ITEMS), {"short_weight": 0.5}),
        (clone(TWO_TOWER).set_params(early_stopping=False), {"random_state": 1}),
        (TWO_TOWER, {"item_embeddings": ItemEmbeddings(ITEMS.vectors, space_id="other")}),
    ],
)
def test_a_parameter_that_affects_the_vectors_changes_the_encoder_id(encoder, parameters):
    batch = Histories.from_lists(LISTS, timestamps=TIMES)
    changed = clone(encoder).set_params(**parameters).fit(batch)
    assert changed.encoder_id_ != clone(encoder).fit(batch).encoder_id_


def test_any_change_of_a_fitted_array_changes_the_encoder_id():
    fitted = clone(TWO_TOWER).fit(LISTS)
    before = fitted.encoder_id_
    for name in fitted.parameters_[0]:
        kept = fitted.parameters_[0][name].copy()
        fitted.parameters_[0][name] = kept + np.float32(0.5)
        assert fitted.encoder_id_ != before, name
        fitted.parameters_[0][name] = kept
    assert fitted.encoder_id_ == before


def test_the_result_is_the_same_for_every_n_jobs(fitted):
    many = Histories.from_lists(LISTS * 80)  # more than one chunk
    one = fitted.transform(many)
    with joblib.parallel_config(backend="threading"):
        np.testing.assert_array_equal(fitted.set_params(n_jobs=2).transform(many), one)
    fitted.set_params(n_jobs=None)


def test_pickled_encoders_give_identical_vectors_in_a_new_process(tmp_path):
    fitted = [clone(encoder).fit(LISTS) for encoder in ENCODERS]
    joblib.dump((fitted, LISTS), tmp_path / "encoders.joblib")
    code = (
        "import sys, joblib, numpy;"
        "encoders, lists = joblib.load(sys.argv[1] + '/encoders.joblib');"
        "numpy.save(sys.argv[1] + '/vectors.npy', [one.transform(lists) for one in encoders]);"
        "print(*(one.encoder_id_ for one in encoders))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    for vectors, encoder in zip(np.load(tmp_path / "vectors.npy"), fitted, strict=True):
        np.testing.assert_array_equal(vectors, encoder.transform(LISTS))
    assert done.stdout.split() == [encoder.encoder_id_ for encoder in fitted]


@every_encoder
def test_the_width_of_a_two_dimensional_x_is_checked(encoder):
    fitted = clone(encoder).fit(padded(LISTS))
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 8 features"):
        fitted.transform(np.array([[1, 2, 3]]))


@every_encoder
def test_the_width_of_lists_is_not_checked(encoder):
    fitted = clone(encoder).fit(LISTS)
    assert not hasattr(fitted, "n_features_in_")
    assert fitted.transform([[1] * 40]).shape == (1, 5)


@every_encoder
def test_the_error_for_a_long_log_names_from_frame(encoder):
    pandas = pytest.importorskip("pandas")
    log = pandas.DataFrame({"user_id": [1, 1], "item_id": [2, 3]})
    with pytest.raises(ValueError, match=r"looks like a long log.*Histories.from_frame"):
        clone(encoder).fit(log)


@every_encoder
def test_fit_rejects_y_of_another_length(encoder):
    with pytest.raises(ValueError, match=r"got 60 rows in X and 2 in y"):
        clone(encoder).fit(LISTS, [1, 2])


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (TWO_TOWER, "X has no events.*Pass histories with items"),
        (TwoTowerUserEncoder(), "no event"),
    ],
    ids=["given items", "learned items"],
)
def test_training_on_empty_histories_raises_with_the_way_out(encoder, message):
    with pytest.raises(ValueError, match=message):
        clone(encoder).fit([[], []])


@every_encoder_of_given_items
@pytest.mark.parametrize("cold_start", ["mean", "popular", "raise"])
def test_fit_without_a_known_event_raises_and_shows_an_id_of_each_side(encoder, cold_start):
    message = r"None of the 2 events in X .* strings such as '7', those in .* integers such as 0"
    with pytest.raises(ValueError, match=message):
        clone(encoder).set_params(cold_start=cold_start).fit([["7"], [], ["8"]])


@pytest.mark.parametrize("encoder", ENCODERS[:2], ids=["decay", "mixed"])
@pytest.mark.parametrize("cold_start", ["zero", [1.0, 0, 0, 0, 0]], ids=["zero", "vector"])
def test_an_average_with_nothing_to_learn_can_be_fitted_on_empty_histories(encoder, cold_start):
    fitted = clone(encoder).set_params(cold_start=cold_start).fit([[]])
    expected = clone(encoder).fit(LISTS).transform(LISTS)
    np.testing.assert_array_equal(fitted.transform(LISTS), expected)


SETTINGS = [
    (DecayAverageUserEncoder, {"decay": 0.5}, {"decay": np.float64(0.5)}),
    (DecayAverageUserEncoder, {"max_history": 3}, {"max_history": np.int32(3)}),
    (DecayAverageUserEncoder, {"age_unit": "instant"}, {"age_unit": np.str_("instant")}),
    (DecayAverageUserEncoder, {"cold_start": [1, 0, 0, 0, 0]}, {"cold_start": np.eye(5)[0]}),
    (TwoTowerUserEncoder, {"decays": (0, 1)}, {"decays": np.array([0.0, 1.0])}),
    (TwoTowerUserEncoder, {"hidden_layer_sizes": (8,)}, {"hidden_layer_sizes": np.array([8])}),
]


@pytest.mark.parametrize(("cls", "one", "other"), SETTINGS)
def test_equal_settings_of_different_types_give_the_same_encoder_id(cls, one, other):
    batch = Histories.from_lists(LISTS, timestamps=TIMES)
    common = {"max_iter": 1, "random_state": 0} if cls is TwoTowerUserEncoder else {}
    ids = [cls(ITEMS, **common, **setting).fit(batch).encoder_id_ for setting in (one, other)]
    assert ids[0] == ids[1]


def test_ids_of_another_type_warn_and_one_of_each_is_named():
    fitted = clone(AVERAGE).fit(LISTS)
    message = r"1 events in X .*strings such as '7', those in item_embeddings integers such as 0"
    with pytest.warns(UserWarning, match=message) as caught:
        fitted.transform([["7"]])
    assert [(w.filename, len(caught)) for w in caught] == [(__file__, 1)]


@pytest.mark.parametrize("X", [[[99] * 29], [[]], [[99] * 50, [1]]], ids=str)
def test_a_few_new_users_with_new_items_do_not_warn(X):
    fitted = DecayAverageUserEncoder(ITEMS).fit(LISTS)
    assert np.isfinite(fitted.transform(X)).all()  # warnings are errors here


def test_recommend_takes_one_list_of_ids_for_all_users_or_one_per_user(fitted):
    ids, _ = fitted.recommend(LISTS[:2], k=12)
    best = ids[:, 0].tolist()
    without, scores = fitted.recommend(LISTS[:2], k=12, exclude=[[best[0]], [best[1], 99]])
    np.testing.assert_array_equal(without[:, :11], ids[:, 1:])
    assert without[:, 11].tolist() == [-1, -1]
    assert np.isneginf(scores[:, 11]).all()
    only, _ = fitted.recommend(LISTS[:2], k=3, allow=[1, 2, 3], exclude=[2])
    assert [sorted(row) for row in only.tolist()] == [[-1, 1, 3], [-1, 1, 3]]


def test_recommend_excludes_seen_and_given_items_together():
    fitted = clone(AVERAGE).fit(LISTS)
    seen = list(range(6))
    ids, _ = fitted.recommend([seen, seen], k=6, exclude_seen=True, exclude=[[7], [8]])
    assert [sorted(row) for row in ids.tolist()] == [[-1, 6, 8, 9, 10, 11], [-1, 6, 7, 9, 10, 11]]


def test_recommend_and_the_index_apply_the_same_limits(fitted, tmp_path):
    export_index(fitted, tmp_path)
    limits = {"exclude": [[1], [2, 3]], "allow": [[1, 5, 6], [2, 3]]}
    found = fitted.recommend(LISTS[:2], k=4, **limits)
    expected = open_index(tmp_path).recommend(fitted, LISTS[:2], k=4, **limits)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_recommend_rejects_lists_for_another_number_of_users():
    fitted = DecayAverageUserEncoder(ITEMS).fit(LISTS)
    with pytest.raises(ValueError, match="allow has lists for 1 users, but there are 2"):
        fitted.recommend(LISTS[:2], allow=[[1]])


def test_a_frame_of_recommendations_has_no_row_for_missing_items():
    pytest.importorskip("pandas")
    fitted = clone(AVERAGE).fit(LISTS)
    batch = Histories.from_lists([list(range(10)), [1]], user_ids=["ann", "bob"])
    ids, scores = fitted.recommend(batch, k=3, exclude_seen=True)
    frame = fitted.recommend(batch, k=3, exclude_seen=True, as_frame=True)
    assert frame.columns.tolist() == ["user", "item", "score", "rank"]
    assert frame["user"].tolist() == ["ann"] * 2 + ["bob"] * 3
    assert frame["item"].tolist() == [*ids[0, :2], *ids[1]]
    assert frame["score"].tolist() == [*scores[0, :2], *scores[1]]
    assert frame["rank"].tolist() == [1, 2, 1, 2, 3]


HOSTILE = ["\ud800", "a\0", "a", "x" * 1000]


def test_frames_return_every_id_unchanged():
    pytest.importorskip("pandas")
    items = ItemEmbeddings(np.eye(4), ids=HOSTILE)
    batch = Histories.from_lists([[one] for one in HOSTILE], user_ids=HOSTILE)
    fitted = DecayAverageUserEncoder(items).set_output(transform="pandas").fit(batch)
    frame = fitted.recommend(batch, k=1, as_frame=True)
    assert frame["user"].tolist() == frame["item"].tolist() == HOSTILE
    assert fitted.transform(batch).index.tolist() == HOSTILE
    assert batch.to_frame()["item"].tolist() == batch.to_frame()["user"].tolist() == HOSTILE
