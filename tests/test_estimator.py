"""What all estimators share: a fit replaces the whole state at once, or nothing."""

import threading
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from skue._estimator import atomic_fit, check_positive_int, of_one_fit


class Pair(BaseEstimator):
    _parameter_constraints: ClassVar = {"stop": [bool]}

    def __init__(self, stop=False):
        self.stop = stop

    @atomic_fit
    def fit(self, X, y=None):
        self.left_ = X
        if self.stop:
            raise KeyboardInterrupt
        self.right_ = X
        return self

    @of_one_fit
    def both(self, pause):
        left = self.left_
        pause()
        return left, self.right_


@pytest.mark.parametrize("before", [None, 1])
def test_an_interrupted_fit_changes_nothing(before):
    pair = Pair()
    if before is not None:
        pair.fit(before)
    state = dict(vars(pair))
    pair.stop = True
    with pytest.raises(KeyboardInterrupt):
        pair.fit(2)
    assert vars(pair) == {**state, "stop": True}


def test_a_fit_checks_the_parameters_and_returns_the_estimator():
    pair = Pair()
    assert pair.fit(1) is pair
    with pytest.raises(ValueError, match="The 'stop' parameter of Pair must be"):
        Pair(stop="yes").fit(1)


def test_a_method_that_reads_one_fit_is_not_changed_by_another():
    pair = Pair().fit(1)
    assert pair.both(lambda: pair.fit(2)) == (1, 1)
    assert pair.both(lambda: None) == (2, 2)


def test_threads_never_see_a_mixture_of_two_fits():
    pair, done = Pair().fit(0), threading.Event()

    def fit_again():
        for number in range(3_000):
            pair.fit(number)
        done.set()

    thread = threading.Thread(target=fit_again)
    thread.start()
    seen = set()
    while not done.is_set():
        left, right = pair.both(lambda: None)
        assert left == right
        seen.add(left)
    thread.join()
    assert len(seen) > 1


@pytest.mark.parametrize("value", [0, -1, 1.0, "2", None, True, np.True_])
def test_only_integers_of_at_least_one_are_positive(value):
    with pytest.raises(ValueError, match="k must be an integer of at least 1, got"):
        check_positive_int("k", value)
    check_positive_int("k", np.int64(1))
