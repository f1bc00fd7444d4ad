"""Work spread over threads."""

import threading

import pytest
import sklearn
from threadpoolctl import threadpool_info, threadpool_limits

from skue.kernels import _threads
from skue.kernels._threads import blas_threads, spread


def test_on_failure_is_called_before_the_other_parts_end():
    begun, stopped, heard = threading.Event(), threading.Event(), []

    def work(part):
        if part == 0:
            begun.wait(30)  # A part that has not begun would be cancelled.
            raise RuntimeError("part 0")
        begun.set()
        heard.append(stopped.wait(30))

    with threadpool_limits(2, user_api="blas"):
        assert blas_threads() == 2
        with pytest.raises(RuntimeError, match="part 0"):
            spread(work, [0, 1], on_failure=stopped.set)
    assert heard == [True]


def test_threads_keep_the_order_and_restore_the_limits_of_blas():
    before = [library["num_threads"] for library in threadpool_info()]
    with threadpool_limits(4, user_api="blas"):
        inside = spread(lambda part: (part, blas_threads()), range(20))
        assert [part for part, _ in inside] == list(range(20))
        assert {threads for _, threads in inside} == {1}
        assert blas_threads() == 4
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_an_error_in_a_thread_is_raised_and_the_limits_of_blas_restored():
    def fail(part):
        raise ValueError(f"part {part}")

    with threadpool_limits(3, user_api="blas"):
        with pytest.raises(ValueError, match="part 0"):
            spread(fail, range(5))
        assert blas_threads() == 3


def test_openmp_has_one_thread_for_few_rows_only():
    before = [library.num_threads for library in _threads._openmp().lib_controllers]
    assert before, f"scikit-learn {sklearn.__version__} loads OpenMP"
    with _threads.few_openmp_threads(10):
        assert {library.num_threads for library in _threads._openmp().lib_controllers} == {1}
    with _threads.few_openmp_threads(10**6):
        assert [library.num_threads for library in _threads._openmp().lib_controllers] == before
    assert [library.num_threads for library in _threads._openmp().lib_controllers] == before
