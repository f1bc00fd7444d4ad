"""Pooling compiled by numba for one number of dimensions: a faster ``_pooling``.

Imported when the first batch is pooled, never by ``import skue``.

The inner loop, ``add_rows``, is written in LLVM IR: it keeps the sums in registers and fetches item
vectors ahead. numba compiles a Python loop over an array of sums to one that loads and stores the
sums for every event, and it has no prefetch. Such a loop takes 1.4 to 1.6 times as long with 64
dimensions, and 1.0 to 1.1 times with 128 (100,000 users of 50 events, 50,000 items). To measure
this again, run ``python benchmarks/_pooling.py``.

numba's cache on disk does not notice changes to this file. Delete ``skue/kernels/__pycache__``
after a change.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from skue.kernels._threads import compiled
from skue.kernels._unit_rows import CANCELS, NEGLIGIBLE_NORM, NEGLIGIBLE_WEIGHT

# float32 numbers in a cache line.
CACHE_LINE = 16
# As many sums as the registers hold.
_TILE = 128
# How many events ahead item vectors are fetched: the loop is bound by memory latency.
_AHEAD = 32

_INT64, _INT32, _FLOAT32 = ir.IntType(64), ir.IntType(32), ir.FloatType()
_BYTES = ir.IntType(8).as_pointer()

_ROWS = types.Array(types.int32, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_WEIGHTS = types.float64[:, ::1]
_VECTORS = types.Array(types.float32, 2, "C", readonly=True)

_SUM: Any = {"nogil": True, "fastmath": {"reassoc", "contract"}}


@intrinsic(prefer_literal=True)
def add_rows(_context, sums, vectors, rows, weights, start, stop, first, column, width, n_parts):  # type: ignore[no-untyped-def]
    """Sum ``weights[part, first + i] * vectors[rows[start + i], column : column + width]``.

    The sums of each part are written to ``sums[part, column : column + width]``. ``width`` and
    ``n_parts`` are compile-time constants.
    """
    parameters = (sums, vectors, rows, weights, start, stop, first, column, width, n_parts)
    n_columns, parts = width.literal_value, range(n_parts.literal_value)
    pieces = _pieces(n_columns)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        arrays = [
            _Array(context, builder, kind, value)
            for kind, value in zip(signature.args[:4], values[:4], strict=True)
        ]
        event_start, event_stop, first_weight, first_column = values[4:8]
        of_sums, of_vectors, of_rows, of_weights = arrays

        def columns(array: _Array, row: Any, at: int, size: int) -> Any:
            place = array.pointer(row, builder.add(first_column, _INT64(at)))
            return builder.bitcast(place, ir.VectorType(_FLOAT32, size).as_pointer())

        def row_of(event: Any) -> Any:
            return builder.sext(builder.load(of_rows.pointer(event)), _INT64)

        totals = {}
        for part in parts:
            for at, size in pieces:
                kind = ir.VectorType(_FLOAT32, size)
                totals[part, at, size] = cgutils.alloca_once(builder, kind)
                builder.store(ir.Constant(kind, [0.0] * size), totals[part, at, size])
        n_events = cgutils.unpack_tuple(builder, of_rows.struct.shape)[0]
        last = builder.sub(n_events, _INT64(1))
        shift = builder.sub(first_weight, event_start)
        with cgutils.for_range_slice(builder, event_start, event_stop, _INT64(1), intp=_INT64) as (
            event,
            _,
        ):
            ahead = builder.add(event, _INT64(_AHEAD))
            ahead = builder.select(builder.icmp_signed("<", ahead, last), ahead, last)
            row = row_of(ahead)
            for at in range(0, n_columns, CACHE_LINE):
                _prefetch(builder, columns(of_vectors, row, at, 1))
            row, at_weight = row_of(event), builder.add(event, shift)
            factors = [builder.load(of_weights.pointer(_INT64(part), at_weight)) for part in parts]
            for at, size in pieces:
                piece = builder.load(columns(of_vectors, row, at, size), align=4)
                for part in parts:
                    factor = _repeated(builder, factors[part], size)
                    product = builder.fmul(factor, piece, flags=("contract",))
                    total = totals[part, at, size]
                    added = builder.fadd(builder.load(total), product, flags=("contract",))
                    builder.store(added, total)
        for (part, at, size), total in totals.items():
            place = columns(of_sums, _INT64(part), at, size)
            builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    return types.void(*parameters), codegen


class _Array:
    """A numba array in generated code."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self._context, self._builder, self._kind = context, builder, kind
        self.struct = context.make_array(kind)(context, builder, value)

    def pointer(self, *index: Any) -> Any:
        """Return the pointer to an element."""
        return cgutils.get_item_pointer(
            self._context, self._builder, self._kind, self.struct, list(index), wraparound=False
        )


def _pieces(n_columns: int) -> list[tuple[int, int]]:
    """Cut columns into vectors of 16 numbers and the rest into 8, 4, 2 and 1: (start, size)."""
    pieces, at = [], 0
    for size in (16, 8, 4, 2, 1):
        while n_columns - at >= size:
            pieces.append((at, size))
            at += size
    return pieces


def _repeated(builder: Any, value: Any, size: int) -> Any:
    """Return a vector that repeats a number."""
    undefined = ir.Constant(ir.VectorType(_FLOAT32, size), ir.Undefined)
    zeros = ir.Constant(ir.VectorType(_INT32, size), [0] * size)
    first = builder.insert_element(undefined, value, _INT32(0))
    return builder.shuffle_vector(first, undefined, zeros)


def _prefetch(builder: Any, place: Any) -> None:
    """Fetch the cache line of a pointer, for reading."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, _INT32, _INT32, _INT32])
    prefetch = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
    builder.call(prefetch, [builder.bitcast(place, _BYTES), _INT32(0), _INT32(3), _INT32(1)])


def pool(
    weights: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    vectors: np.ndarray,
    *,
    by_age: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted sums of each user's item vectors at length 1, for several weightings.

    Parameters
    ----------
    weights : ndarray of shape (n_parts, n_terms) or (n_parts, longest), float64
        Weight of every term. With ``by_age`` the weights of all users by age: of the newest event
        (always 1) in the last column, of the one before it in the column before, and so on.
    rows : ndarray of shape (n_terms,), int32
    offsets : ndarray of shape (n_users + 1,), int64
    vectors : ndarray of shape (n_items, n_dims), float32
    by_age : bool

    Returns
    -------
    pooled : ndarray of shape (n_parts, n_users, n_dims), float32
    defined : ndarray of shape (n_parts, n_users), bool
    """
    n_parts, n_users, n_dims = len(weights), len(offsets) - 1, vectors.shape[1]
    pooled = np.empty((n_parts, n_users, n_dims), dtype=np.float32)
    defined = np.empty((n_parts, n_users), dtype=bool)
    kernel = _pool_kernel(n_dims, n_parts)
    kernel(weights, rows, offsets, np.asarray(vectors), by_age, pooled, defined)
    return pooled, defined


@lru_cache(maxsize=32)
def _pool_kernel(n_dims: int, n_parts: int) -> Callable[..., None]:
    """Compile the pooling of vectors of one length, or load it from numba's cache on disk."""
    width = min(n_dims, max(_TILE // n_parts, CACHE_LINE))
    n_tiles, rest = divmod(n_dims, width)

    def pool_users(given, rows, offsets, vectors, by_age, pooled, defined):  # type: ignore[no-untyped-def]
        longest = given.shape[1]
        if not by_age:
            longest = 0
            for user in range(len(offsets) - 1):
                longest = max(longest, offsets[user + 1] - offsets[user])
        exact = given if by_age else np.empty((n_parts, longest), dtype=np.float64)
        weights = np.empty((n_parts, longest), dtype=np.float32)
        if by_age:
            for part in range(n_parts):
                _as_float32(given[part], weights[part])
        sums = np.empty((n_parts, n_dims), dtype=np.float32)
        for user in range(len(offsets) - 1):
            start, stop = offsets[user], offsets[user + 1]
            first = longest - (stop - start) if by_age else 0
            if not by_age:
                for part in range(n_parts):
                    _scale(given[part, start:stop], exact[part], weights[part])
            for tile in range(n_tiles):
                add_rows(
                    sums, vectors, rows, weights, start, stop, first, tile * width, width, n_parts
                )
            add_rows(
                sums, vectors, rows, weights, start, stop, first, n_tiles * width, rest, n_parts
            )
            for part in range(n_parts):
                mass = _mass(exact[part, first : first + stop - start])
                norm = np.sqrt(_square(sums[part]))
                out = pooled[part, user]
                if norm <= CANCELS * mass and mass > 0:
                    norm = _sum_exactly(exact[part, first:], rows[start:stop], vectors, out)
                else:
                    for dim in range(n_dims):
                        out[dim] = sums[part, dim]
                defined[part, user] = norm > NEGLIGIBLE_NORM * mass
                factor = np.float32(1 / norm if defined[part, user] else 0.0)
                for dim in range(n_dims):
                    out[dim] *= factor

    given = (_WEIGHTS, _ROWS, _OFFSETS, _VECTORS, types.boolean)
    return compiled(pool_users, (*given, types.float32[:, :, ::1], types.boolean[:, ::1]))


@njit(**_SUM)
def _scale(coefficients, exact, weights):  # type: ignore[no-untyped-def]
    """Divide the coefficients by the largest magnitude, so that no sum overflows."""
    largest = 0.0
    for term in range(len(coefficients)):
        largest = max(largest, abs(coefficients[term]))
    if largest == 0:
        largest = 1.0
    for term in range(len(coefficients)):
        exact[term] = coefficients[term] / largest
    _as_float32(exact[: len(coefficients)], weights)


@njit
def _as_float32(exact, weights):  # type: ignore[no-untyped-def]
    """Copy weights of which the largest is 1; negligible ones become zero."""
    for term in range(len(exact)):
        weights[term] = exact[term] if abs(exact[term]) >= NEGLIGIBLE_WEIGHT else 0.0


@njit(**_SUM)
def _mass(weights):  # type: ignore[no-untyped-def]
    total = 0.0
    for weight in weights:
        total += abs(weight)
    return total


@njit(**_SUM)
def _square(sums):  # type: ignore[no-untyped-def]
    total = 0.0
    for value in sums:
        total += np.float64(value) * value
    return total


@njit(nogil=True)
def _sum_exactly(weights, rows, vectors, out):  # type: ignore[no-untyped-def]
    """Write the sum computed in float64, and return its length."""
    square = 0.0
    for dim in range(len(out)):
        total = 0.0
        for event in range(len(rows)):
            total += weights[event] * vectors[rows[event], dim]
        out[dim] = total
        square += total * total
    return np.sqrt(square)


@njit(nogil=True)
def _find(slots, term_rows, row, first):  # type: ignore[no-untyped-def]
    """Return the slot of a row in an open-addressing hash table, or the free slot for it."""
    mask = len(slots) - 1
    slot = (row * 2654435761) & mask
    while slots[slot] >= 0 and term_rows[first + slots[slot]] != row:
        slot = (slot + 1) & mask
    return slot


def _sum_by_item(  # type: ignore[no-untyped-def]
    weights, rows, offsets, exponent, negligible, coefficients, term_rows, term_offsets
):
    n_parts = len(weights)
    longest = 1
    for user in range(len(offsets) - 1):
        longest = max(longest, offsets[user + 1] - offsets[user])
    size = 2
    while size < 2 * longest:
        size *= 2
    table = np.empty(size, dtype=np.int64)
    totals = np.empty((n_parts, longest))
    n_terms = 0
    term_offsets[0] = 0
    for user in range(len(offsets) - 1):
        start, stop = offsets[user], offsets[user + 1]
        size = 2
        while size < 2 * (stop - start):
            size *= 2
        slots = table[:size]
        for slot in range(size):
            slots[slot] = -1
        first = n_terms
        for event in range(start, stop):
            slot = _find(slots, term_rows, rows[event], first)
            if slots[slot] < 0:
                slots[slot] = n_terms - first
                term_rows[n_terms] = rows[event]
                for part in range(n_parts):
                    coefficients[part, n_terms] = 0.0
                    totals[part, n_terms - first] = 0.0
                n_terms += 1
            term = slots[slot]
            for part in range(n_parts):
                coefficients[part, first + term] += weights[part, event]
                totals[part, term] += abs(weights[part, event])
        for part in range(n_parts):
            for term in range(n_terms - first):
                value = coefficients[part, first + term]
                if abs(value) <= negligible * totals[part, term]:
                    coefficients[part, first + term] = 0.0
                elif exponent != 1:
                    coefficients[part, first + term] = np.sign(value) * abs(value) ** exponent
        term_offsets[user + 1] = n_terms
    return n_terms


@lru_cache(maxsize=1)
def _sum_kernel() -> Callable[..., int]:
    given = (_WEIGHTS, _ROWS, _OFFSETS, types.float64, types.float64)
    return compiled(
        _sum_by_item, (*given, types.float64[:, ::1], types.int32[::1], types.int64[::1])
    )


def item_coefficients(
    weights: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    repeat_exponent: float,
    negligible: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add up each user's events by item and damp repeats, for several weightings at once.

    Parameters
    ----------
    weights : ndarray of shape (n_parts, n_events), float64
    rows : ndarray of shape (n_events,), int32
    offsets : ndarray of shape (n_users + 1,), int64
    repeat_exponent, negligible : float

    Returns
    -------
    coefficients : ndarray of shape (n_parts, n_terms), float64
    rows : ndarray of shape (n_terms,), int32
    offsets : ndarray of shape (n_users + 1,), int64
    """
    coefficients = np.empty_like(weights)
    term_rows = np.empty_like(rows)
    term_offsets = np.empty_like(offsets)
    n_terms = _sum_kernel()(
        weights,
        rows,
        offsets,
        float(repeat_exponent),
        negligible,
        coefficients,
        term_rows,
        term_offsets,
    )
    coefficients = np.ascontiguousarray(coefficients[:, :n_terms])
    return coefficients, term_rows[:n_terms], term_offsets
