"""The displays: the values they compute and what they draw."""

import numpy as np
import pytest
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline

import skue
from skue import (
    DecayAverageUserEncoder,
    DecayCurveDisplay,
    MixedUserEncoder,
    RecallAtK,
    RecallCurveDisplay,
    TrainingCurveDisplay,
    TwoTowerUserEncoder,
    leave_last_out,
)
from skue.datasets import make_user_histories

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def task():
    data = make_user_histories(n_users=120, n_items=200, n_dims=8, random_state=0)
    X, y = leave_last_out(data.histories)
    return data.item_embeddings, X, y


def test_the_recall_curve_equals_recall_at_each_k(task):
    items, X, y = task
    encoder = DecayAverageUserEncoder(items).fit(X)
    display = RecallCurveDisplay.from_estimator(encoder, X, y, k=(1, 7, 30), exclude_seen=True)
    expected = [RecallAtK(k, exclude_seen=True)(encoder, X, y) for k in (1, 7, 30)]
    assert 0 < expected[0] < expected[2] < 1
    np.testing.assert_allclose(display.recall, expected, rtol=1e-12)


def test_the_recall_curve_of_two_users_by_hand():
    # The first user's target is first, the second one's third of three.
    display = RecallCurveDisplay.from_predictions(
        [[1, 0], [1, 0]], [[1, 0], [1, 1], [0, 1]], [0, 2], k=(1, 2, 3)
    )
    np.testing.assert_array_equal(display.recall, [1 / 2, 1 / 2, 1])


@pytest.mark.parametrize("k", [0, [1, -2], 1.5, []])
def test_an_invalid_k_raises(task, k):
    items, X, y = task
    encoder = DecayAverageUserEncoder(items).fit(X)
    with pytest.raises(ValueError, match="k must be integers of at least 1"):
        RecallCurveDisplay.from_estimator(encoder, X, y, k=k)


def test_the_decay_curve_is_cross_validated_over_users(task):
    items, X, y = task
    display = DecayCurveDisplay.from_estimator(
        DecayAverageUserEncoder(items), X, y, decays=(0.5, 0.0), scoring=RecallAtK(5), cv=3
    )
    expected = np.empty((2, 3))
    for fold, (train, test) in enumerate(KFold(3).split(np.zeros(len(X)))):
        for point, decay in enumerate((0.0, 0.5)):
            encoder = DecayAverageUserEncoder(items, decay=decay).fit(X[train])
            expected[point, fold] = RecallAtK(5)(encoder, X[test], y[test])
    assert expected.std() > 0
    np.testing.assert_array_equal(display.decays, [0.0, 0.5])
    np.testing.assert_allclose(display.scores, expected, rtol=1e-12)
    assert display.score_name == "Recall@5"


def test_the_decay_curve_of_a_pipeline_leaves_it_unfitted(task):
    items, X, y = task
    pipeline = Pipeline([("encode", MixedUserEncoder(items))])
    display = DecayCurveDisplay.from_estimator(
        pipeline, X, y, param_name="encode__short_decay", decays=(0.0, 1.0, 8.0), cv=2
    )
    assert len(set(display.scores.mean(axis=1))) == 3
    assert pipeline["encode"].short_decay == 0.15
    assert not hasattr(pipeline["encode"], "fallback_vector_")
    assert display.ax_.get_xlabel() == "short_decay"


def test_the_band_is_one_standard_error_of_the_mean():
    scores = np.array([[0.1, 0.2, 0.6], [0.3, 0.3, 0.3]])
    display = DecayCurveDisplay([0.0, 0.1], scores).plot()
    np.testing.assert_allclose(display.line_.get_ydata(), [0.3, 0.3])
    vertices = display.band_.get_paths()[0].vertices
    at_zero = vertices[vertices[:, 0] == 0.0, 1]
    error = np.sqrt((0.04 + 0.01 + 0.09) / 2 / 3)
    assert at_zero.min() == pytest.approx(0.3 - error)
    assert at_zero.max() == pytest.approx(0.3 + error)


def test_the_training_curve_shows_the_attributes_of_the_encoder(task):
    items, X, _ = task
    encoder = TwoTowerUserEncoder(items, max_iter=2, random_state=0).fit(X)
    display = TrainingCurveDisplay.from_estimator(encoder)
    n_epochs = len(encoder.loss_curve_)
    assert n_epochs
    np.testing.assert_array_equal(display.loss_line_.get_xdata(), np.arange(1, n_epochs + 1))
    np.testing.assert_array_equal(display.loss_line_.get_ydata(), encoder.loss_curve_)
    np.testing.assert_array_equal(display.validation_line_.get_ydata(), encoder.validation_scores_)
    np.testing.assert_array_equal(display.validation_line_.get_xdata(), np.arange(n_epochs + 1))
    assert display.validation_ax_.figure is display.figure_
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert f"kept: epoch {encoder.best_iter_}" in labels


def test_without_validation_the_training_curve_shows_the_loss_only(task):
    items, X, _ = task
    encoder = TwoTowerUserEncoder(items, max_iter=1, early_stopping=False, random_state=0).fit(X)
    display = TrainingCurveDisplay.from_estimator(encoder)
    assert display.validation_ax_ is None
    assert len(display.figure_.axes) == 1


@pytest.mark.parametrize(
    "name", [name for name in skue.__all__ if name.endswith("Display")], ids=str
)
def test_a_display_draws_on_the_given_axes_without_a_new_figure(name):
    from matplotlib.figure import Figure

    display = {
        "RecallCurveDisplay": lambda: RecallCurveDisplay([1, 2], [0.1, 0.2], name="a"),
        "DecayCurveDisplay": lambda: DecayCurveDisplay([0.0, 1.0], [[0.1], [0.2]], name="a"),
        "TrainingCurveDisplay": lambda: TrainingCurveDisplay([2.0], [0.1, 0.2], best_iter=1),
    }[name]()
    ax = Figure().add_subplot()
    assert display.plot(ax=ax) is display
    assert display.ax_ is ax
    assert ax.lines
    assert not plt.get_fignums()
