"""Work shared among threads."""

import threading

import pytest
from threadpoolctl import threadpool_limits

from skue.kernels._threads import blas_threads, spread


def test_when_a_part_fails_the_others_can_be_told_to_stop():
    begun, stopped, heard = threading.Event(), threading.Event(), []

    def work(part):
        if part == 0:
            begun.wait(30)  # A part that nobody has begun is never run.
            raise RuntimeError("part 0")
        begun.set()
        heard.append(stopped.wait(30))

    with threadpool_limits(2, user_api="blas"):
        assert blas_threads() == 2
        with pytest.raises(RuntimeError, match="part 0"):
            spread(work, [0, 1], on_failure=stopped.set)
    assert heard == [True]
