"""``compare --target``: which columns predict a label of the users."""

import json
from itertools import islice

import joblib
import numpy as np
import pytest
from scipy.stats import ttest_1samp
from test_command import run

from skue import Histories, ItemFeatures, load_interactions
from skue.compare import _prediction
from skue.compare._labels import read_labels
from skue.compare._prediction import interval_over_folds


def lines_of(n_users=80, seed=0):
    """Two groups of users, each with items of its own."""
    rng = np.random.default_rng(seed)
    for user in range(n_users):
        for day, item in enumerate(rng.integers(8, size=6)):
            yield f"u{user},{'ab'[user % 2]}{item},2026-01-{day + 1:02d}"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    path.write_text("user,item,time\n" + "\n".join(lines_of()) + "\n")
    return path


def written(folder, labels, header="user,label"):
    path = folder / "labels.csv"
    path.write_text("\n".join([header, *(f"{user},{value}" for user, value in labels)]) + "\n")
    return path


@pytest.fixture(scope="module")
def predicted(log):
    labels = written(log.parent, [(f"u{n}", ["no", "yes"][n % 2]) for n in range(80)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_prediction, "_N_REPEATS", 1)
        done = run("compare", log, "--target", labels, "--out", log.parent / "report")
    return done, log.parent


@pytest.mark.slow
def test_the_table_starts_with_what_scikit_learn_gives_and_has_every_contender(predicted):
    done, _ = predicted
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] == "AUC"
    names = [line.split("  ")[0] for line in lines[1 : lines.index("")]]
    assert names[0] == "SVD of TF-IDF"
    assert {"statistics", "counts", "profile", "statistics and profile", "two-tower"} <= set(names)
    assert lines[-1].startswith("Use 'SVD of TF-IDF': AUC 1.000")


@pytest.mark.slow
def test_the_report_holds_a_page_scores_and_an_encoder_that_loads(predicted, log):
    _, folder = predicted
    scores = json.loads((folder / "report" / "scores.json").read_text())
    assert scores["kind"] == "classes"
    assert len(scores["rows"][0]["scores"]) == 5
    page = (folder / "report" / "report.html").read_text()
    assert scores["what_to_use"].replace("'", "&#39;") in page
    encoder = joblib.load(folder / "report" / "profile.joblib")
    assert encoder.transform(load_interactions(log)).shape == (80, 64)


def test_a_label_by_chance_is_predicted_by_nothing(log, tmp_path, monkeypatch):
    every = _prediction.contenders
    monkeypatch.setattr(_prediction, "contenders", lambda *given: islice(every(*given), 2))
    rng = np.random.default_rng(1)
    labels = written(tmp_path, [(f"u{n}", rng.normal()) for n in range(80)])
    done = run("compare", log, "--target", labels, "--json")
    told = json.loads(done.stdout)
    assert told["metric"] == "R²"
    assert told["what_to_use"].startswith("Nothing predicts 'label'")


@pytest.fixture
def histories():
    return Histories.from_lists([[1]] * 80, user_ids=[f"u{n}" for n in range(80)])


def test_labels_are_found_by_user_id_and_the_others_are_counted(histories, tmp_path):
    rows = [(f"u{n}", "old" if n < 30 else "young" if n < 70 else "") for n in range(80)][::-1]
    rows += [("u999", "old"), *((f"v{n}", "young") for n in range(3))]
    rows[rows.index(("u0", "old"))] = ("u0", "ancient")
    labels = read_labels(written(tmp_path, rows), histories)
    assert labels.kind == "classes"
    assert sorted(labels.rows) == list(range(1, 70))
    assert all(
        value == ("old" if row < 30 else "young")
        for row, value in zip(labels.rows, labels.values, strict=True)
    )
    assert labels.notes == [
        "Read 'label' as classes: old (29), young (40).",
        "Users left out: 10 with no value, 4 with no history.",
        "Users left out: 1 with a class of fewer than 10 users.",
    ]


@pytest.mark.parametrize(
    ("value", "kind"), [(lambda n: n % 2, "classes"), (lambda n: n % 3, "numbers")]
)
def test_two_numbers_are_classes_and_more_are_numbers(histories, tmp_path, value, kind):
    path = written(tmp_path, [(f"u{n}", value(n)) for n in range(80)])
    labels = read_labels(path, histories)
    assert labels.kind == kind
    assert labels.notes[0].startswith(
        "Read 'label' as classes: 0 (40), 1 (40)." if kind == "classes" else "Read 'label' as num"
    )


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("u1", "a,b")], "user,label,other", "columns 'label', 'other' could be predicted"),
        ([("u1", 1), ("u1", 2)], "user,label", "several rows, such as 'u1'"),
        ([("x1", 1)], "user,label", "no user of the log has a value"),
        ([("u1", "a"), ("u2", "b")], "user,label", "two or more need 10 users each"),
        ([(f"u{n}", n) for n in range(20)], "user,label", "Give 50 or more"),
    ],
)
def test_labels_that_cannot_be_used_are_an_error(histories, tmp_path, rows, header, message):
    with pytest.raises(ValueError, match=message):
        read_labels(written(tmp_path, rows, header), histories)


@pytest.mark.parametrize("option", [("-k", 3), ("--seen", "keep"), ("--split", "time")])
def test_options_of_the_other_question_are_refused(log, option):
    done = run("compare", log, "--target", log, *option)
    assert done.returncode == 2
    assert f"--target and {option[0]} cannot be combined" in done.stderr


def test_the_interval_over_folds_is_wider_than_that_of_a_t_test_by_the_known_factor():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(2, 10))
    middle, low, high = interval_over_folds(ours, theirs)
    plain = ttest_1samp(ours - theirs, 0).confidence_interval()
    assert middle == pytest.approx((ours - theirs).mean())
    factor = np.sqrt((1 / 10 + 1 / 4) / (1 / 10))
    assert high - low == pytest.approx(factor * (plain.high - plain.low))


def test_a_stop_keeps_the_rows_that_are_done_and_names_the_missing_one(log, tmp_path, monkeypatch):
    class Stopping:
        def fit_transform(self, X):
            raise KeyboardInterrupt

    every = _prediction.contenders
    monkeypatch.setattr(
        _prediction,
        "contenders",
        lambda *given: [*islice(every(*given), 2), ("stopping", [Stopping()])],
    )
    monkeypatch.setattr(_prediction, "_N_REPEATS", 1)
    labels = written(tmp_path, [(f"u{n}", n % 2) for n in range(80)])
    done = run("compare", log, "--target", labels, "--out", tmp_path / "report")
    assert done.returncode == 130
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == ["SVD of TF-IDF", "statistics"]
    assert lines[-1].startswith("Stopped before 'stopping', which is missing. Of the others: Use")
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["missing"] == ["stopping"]


def test_every_contender_is_described():
    histories = Histories.from_lists([["a", "b"]])
    items = ItemFeatures(np.eye(2), ["a", "b"])
    names = {name for name, _ in _prediction.contenders(histories, items)}
    assert names == set(_prediction.DESCRIPTIONS)
