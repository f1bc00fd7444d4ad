"""Work spread over as many threads as BLAS would use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from importlib.util import find_spec
from threading import Lock
from typing import Any, Literal

from threadpoolctl import ThreadpoolController

# With fewer rows, several threads of OpenMP are slower than one if other work runs beside them.
_FEW_ROWS = 50_000
_lock = Lock()
_holders: list[Any] = []
_n_holders = 0


def spread(
    function: Callable[[Any], Any],
    parts: Iterable[Any],
    *,
    on_failure: Callable[[], None] = lambda: None,
) -> list[Any]:
    """Return ``[function(part) for part in parts]``, computed by several threads.

    BLAS is limited to one thread in the meantime. Limits on the threads of BLAS
    (``OPENBLAS_NUM_THREADS``, ``threadpoolctl``, the workers of joblib) also apply to these.
    ``on_failure`` is called when a part fails or is interrupted, before waiting for the others.
    """
    parts = list(parts)
    n_threads = 1 if len(parts) < 2 else blas_threads()
    if n_threads == 1:
        return [function(part) for part in parts]
    # An OpenMP BLAS (as in faiss) has a limit per thread, so each new thread sets it too.
    with (
        one_blas_thread(),
        ThreadPoolExecutor(n_threads, initializer=lambda: _blas().limit(limits=1)) as pool,
    ):
        try:
            return list(pool.map(function, parts))
        except BaseException:
            on_failure()
            raise


def blas_threads() -> int:
    """Return the number of threads that BLAS uses."""
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


@lru_cache(maxsize=1)
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")


def few_openmp_threads(n_rows: int) -> AbstractContextManager[Any]:
    """Limit OpenMP to one thread for small inputs, where waiting for threads costs the most."""
    return _openmp().limit(limits=1) if n_rows < _FEW_ROWS else nullcontext()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread until the last of several concurrent callers leaves.

    The rounding of matrix products depends on the number of threads.
    """
    global _n_holders
    with _lock:
        if not _n_holders:
            _holders.append(_blas().limit(limits=1))
        _n_holders += 1
    try:
        yield
    finally:
        with _lock:
            _n_holders -= 1
            if not _n_holders:
                _holders.pop().restore_original_limits()


def pooling_backend() -> Literal["numba", "scipy"]:
    """Return what adds up item vectors: ``"numba"`` where it is installed, else ``"scipy"``.

    Both give the same vectors up to rounding. numba comes with the extra ``fast``. It compiles
    the pooling when a number of dimensions is first used, and keeps the result on disk.

    Returns
    -------
    backend : {"numba", "scipy"}

    Examples
    --------
    >>> from skue import pooling_backend
    >>> pooling_backend() in ("numba", "scipy")
    True
    """
    return "scipy" if find_spec("numba") is None else "numba"


def compiled(function: Callable[..., Any], signature: tuple[Any, ...]) -> Any:
    """Compile a function for one signature, in which read-only arrays can be declared."""
    from numba import njit

    try:
        return njit(signature, nogil=True, cache=True)(function)
    except (RuntimeError, OSError):  # numba has no writable folder for its cache.
        return njit(signature, nogil=True)(function)
