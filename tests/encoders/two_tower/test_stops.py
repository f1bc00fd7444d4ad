"""A fit that is watched, stopped, interrupted, or that diverges."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from skue import ItemEmbeddings, RecallAtK, TwoTowerUserEncoder
from skue.encoders.two_tower._encoder import HAS_CALLBACKS

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(40, 5)))
LISTS = [RNG.integers(40, size=RNG.integers(2, 9)).tolist() for _ in range(80)]
ENDLESS = {"item_tower": "trained", "max_iter": 100_000, "n_iter_no_change": 100_000}

needs_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has callbacks from 1.9 on"
)


def encoder_of(item_embeddings=ITEMS, **parameters):
    return TwoTowerUserEncoder(
        item_embeddings, **{"max_iter": 2, "batch_size": 64, "random_state": 0, **parameters}
    )


class Recorder:
    """A callback that writes down what it is told, and does something at an epoch."""

    def __init__(self, epoch=-1, action=lambda: False):
        self.epoch, self.action = epoch, action

    def setup(self, estimator, context):
        self.told, self.n_epochs = ["setup"], 0

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.task_name, context.max_subtasks))

    def on_fit_task_end(self, estimator, context):
        self.told.append(("end", context.task_name))
        if context.task_name != "epoch":
            return False
        self.n_epochs += 1
        return self.n_epochs == self.epoch and bool(self.action())


def stop():
    return True


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def at_a_prompt(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)


@needs_callbacks
def test_callbacks_are_called_every_epoch_and_know_their_number():
    recorder = Recorder()
    encoder_of(item_tower="trained", early_stopping=False).set_callbacks(recorder).fit(LISTS)
    epoch = [("begin", "epoch", 0), ("end", "epoch")]
    assert recorder.told == [
        "setup",
        ("begin", "fit", 2),
        *epoch,
        *epoch,
        ("end", "fit"),
        "teardown",
    ]


@needs_callbacks
def test_a_monitor_scores_every_epoch():
    from sklearn.callback import ScoringMonitor

    X, y = [row[:-1] for row in LISTS], [row[-1] for row in LISTS]
    monitor = ScoringMonitor(scoring={"recall": RecallAtK(5)})
    encoder = encoder_of(max_iter=3, targets="y", early_stopping=False)
    encoder.set_callbacks(monitor).fit(X, y)
    scores = [row["recall"] for row in monitor.get_logs().data]
    assert len(scores) == 3
    assert scores[-1] == RecallAtK(5)(encoder, X, y)


@needs_callbacks
def test_an_interrupt_at_a_prompt_keeps_the_best_weights_so_far(at_a_prompt):
    interrupted, stopped = encoder_of(**ENDLESS), encoder_of(**ENDLESS)
    interrupted.set_callbacks(Recorder(3, press_ctrl_c))
    with pytest.raises(KeyboardInterrupt, match=r"in epoch 4. The encoder keeps the best weights"):
        interrupted.fit(LISTS)
    stopped.set_callbacks(Recorder(3, stop)).fit(LISTS)
    assert (interrupted.interrupted_, stopped.interrupted_) == (True, False)
    assert interrupted.n_iter_ == stopped.n_iter_ == 3
    assert interrupted.validation_scores_ == stopped.validation_scores_
    assert interrupted.best_iter_ == stopped.best_iter_
    assert interrupted.encoder_id_ == stopped.encoder_id_
    np.testing.assert_array_equal(interrupted.transform(LISTS), stopped.transform(LISTS))


@needs_callbacks
def test_an_interrupt_anywhere_else_leaves_a_new_encoder_unfitted():
    recorder = Recorder(3, press_ctrl_c)
    encoder = encoder_of(**ENDLESS).set_callbacks(recorder)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(LISTS)
    assert recorder.told[-1] == "teardown"
    assert not [name for name in vars(encoder) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        encoder.transform(LISTS)


@needs_callbacks
def test_an_interrupt_anywhere_else_leaves_a_fitted_encoder_unchanged():
    encoder = encoder_of().fit(np.array([row[:2] for row in LISTS]))
    before, expected = dict(vars(encoder)), encoder.transform(np.array([[1, 2]]))
    encoder.set_params(**ENDLESS).set_callbacks(Recorder(3, press_ctrl_c))
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(LISTS)
    np.testing.assert_array_equal(encoder.transform(np.array([[1, 2]])), expected)
    after = vars(encoder)
    fitted = {name for name in before if name.endswith("_")}
    assert fitted == {name for name in after if name.endswith("_")}
    assert all(after[name] is before[name] for name in fitted)


@needs_callbacks
def test_an_interrupt_ends_a_search(at_a_prompt):
    encoder = encoder_of(**ENDLESS).set_callbacks(recorder := Recorder(2, press_ctrl_c))
    search = GridSearchCV(encoder, {"alpha": [0.0, 0.1]}, cv=2, error_score="raise")
    with pytest.raises(KeyboardInterrupt):
        search.fit(LISTS, [row[0] for row in LISTS])
    assert recorder.n_epochs == 2


PROGRAM = """
import numpy as np
from skue import TwoTowerUserEncoder
from skue.encoders.two_tower._trainer import Trainer
started, epoch = [], Trainer.epoch
def loud_epoch(trainer):
    started.append(trainer)
    if len(started) == 2: print("the first epoch is over", flush=True)
    return epoch(trainer)

Trainer.epoch = loud_epoch
X = np.random.default_rng(0).integers(60, size=(100, 9))
settings = {"max_iter": 100_000, "early_stopping": False, "batch_size": 64, "random_state": 0}
encoder = TwoTowerUserEncoder(np.eye(60), item_tower="trained", **settings)
result = encoder.fit(X)
"""


def run_and_interrupt(program, *options):
    """Press Ctrl-C after the first epoch of a fit in another process."""
    process = subprocess.Popen(
        [sys.executable, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(program)
    process.stdin.close()
    try:
        assert process.stdout.readline().startswith("the first epoch")
        process.send_signal(signal.SIGINT)
        # Read with stdin closed: communicate would flush it.
        process.stdin = None
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output, errors


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_at_the_prompt_leaves_an_encoder_that_works():
    program = (
        f"{PROGRAM}\n"
        "print('interrupted_', encoder.interrupted_, encoder.best_iter_ == encoder.n_iter_ > 0)\n"
        "print(encoder.transform(X).shape, 'result' in globals())\n"
    )
    code, output, errors = run_and_interrupt(program, "-i", "-q")
    assert code == 0
    assert "interrupted_ True True\n(100, 60) False\n" in output
    assert "The encoder keeps the best weights so far, those after epoch" in errors


DIVERGING = {"alpha": 1e6, "max_iter": 5}


@pytest.mark.parametrize(
    "settings", [{"early_stopping": False}, {"item_tower": "trained", "negatives": "sampled"}]
)
def test_a_fit_that_diverges_names_the_parameters(settings):
    encoder = encoder_of(**DIVERGING, **settings)
    message = (
        r"diverged in epoch \d.*learning_rate_init \(the highest rate was 0\.00\d+\)"
        r".*alpha \(it is 1000000.0\)"
    )
    with pytest.raises(ValueError, match=message):
        encoder.fit(LISTS)
    assert not [name for name in vars(encoder) if name.endswith("_")]
