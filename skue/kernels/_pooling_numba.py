"""Pooling compiled by numba, specialised to the dimension: the sums of ``_pooling``, only faster.

Imported when the first batch is pooled, never by ``import skue``.
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

# Sums of so many numbers stay in the registers.
_TILE = 128
# How many events ahead the item vectors are asked for: the sums wait for memory alone.
_AHEAD = 32
_CACHE_LINE = 16

_INT32 = types.Array(types.int32, 1, "C", readonly=True)
_INT64 = types.Array(types.int64, 1, "C", readonly=True)
_FLOAT64S = types.float64[:, ::1]
_FLOAT32S = types.Array(types.float32, 2, "C", readonly=True)

_SUM: Any = {"nogil": True, "fastmath": {"reassoc", "contract"}}


def pool(
    rows: np.ndarray,
    offsets: np.ndarray,
    table: np.ndarray,
    coefficients: np.ndarray,
    vectors: np.ndarray,
    bounds: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted sums of every user at length 1, for several weightings in one pass.

    Parameters
    ----------
    rows : ndarray of shape (n_terms,), int32
    offsets : ndarray of shape (n_users + 1,), int64
    table : ndarray of shape (n_parts, longest), float64
        Weight of a user's newest event in the last column, of the one before it in the column
        before, and so on; 1 for the newest. Without columns the ``coefficients`` count.
    coefficients : ndarray of shape (n_parts, n_terms), float64
    vectors : ndarray of shape (n_items, n_dims), float32
    bounds : (float, float)
        Shares of the mass of the weights: a norm up to the first is recomputed in float64, one
        up to the second leaves the user undefined.

    Returns
    -------
    pooled : ndarray of shape (n_parts, n_users, n_dims), float32
    defined : ndarray of shape (n_parts, n_users), bool
    """
    n_parts, n_users, n_dims = len(table), len(offsets) - 1, vectors.shape[1]
    pooled = np.empty((n_parts, n_users, n_dims), dtype=np.float32)
    defined = np.empty((n_parts, n_users), dtype=bool)
    kernel = _pool_kernel(n_dims, n_parts)
    kernel(rows, offsets, table, coefficients, np.asarray(vectors), bounds, pooled, defined)
    return pooled, defined


@lru_cache(maxsize=32)
def _pool_kernel(n_dims: int, n_parts: int) -> Callable[..., None]:
    """Compile the pooling of vectors of one length, or take it from numba's cache on disk."""
    width = min(n_dims, max(_TILE // n_parts, _CACHE_LINE))
    n_tiles, rest = divmod(n_dims, width)

    def pool_users(  # type: ignore[no-untyped-def]
        rows, offsets, table, coefficients, vectors, bounds, pooled, defined
    ):
        by_age = table.shape[1] > 0
        longest = table.shape[1]
        if not by_age:
            for user in range(len(offsets) - 1):
                longest = max(longest, offsets[user + 1] - offsets[user])
        exact = table if by_age else np.empty((n_parts, longest), dtype=np.float64)
        weights = np.empty((n_parts, longest), dtype=np.float32)
        for part in range(n_parts):
            for age in range(table.shape[1]):
                weights[part, age] = table[part, age]
        sums = np.empty((n_parts, n_dims), dtype=np.float32)
        for user in range(len(offsets) - 1):
            start, stop = offsets[user], offsets[user + 1]
            first = longest - (stop - start) if by_age else 0
            if not by_age:
                for part in range(n_parts):
                    _scale(coefficients[part, start:stop], exact[part], weights[part])
            for tile in range(n_tiles):
                _add_rows(
                    sums, vectors, rows, weights, start, stop, first, tile * width, width, n_parts
                )
            _add_rows(
                sums, vectors, rows, weights, start, stop, first, n_tiles * width, rest, n_parts
            )
            for part in range(n_parts):
                mass = _mass(exact[part, first : first + stop - start])
                norm = np.sqrt(_square(sums[part]))
                if norm <= bounds[0] * mass and mass > 0:
                    norm = _sum_exactly(
                        exact[part, first:], rows[start:stop], vectors, pooled[part, user]
                    )
                else:
                    for dim in range(n_dims):
                        pooled[part, user, dim] = sums[part, dim]
                defined[part, user] = norm > bounds[1] * mass
                factor = np.float32(1 / norm if defined[part, user] else 0.0)
                for dim in range(n_dims):
                    pooled[part, user, dim] *= factor

    given = (_INT32, _INT64, _FLOAT64S, _FLOAT64S, _FLOAT32S, types.UniTuple(types.float64, 2))
    return compiled(pool_users, (*given, types.float32[:, :, ::1], types.boolean[:, ::1]))


def compiled(function: Callable[..., Any], signature: tuple[Any, ...]) -> Any:
    """Compile for these types alone, so that read-only arrays and others share one result."""
    try:
        return njit(signature, nogil=True, cache=True)(function)
    except (RuntimeError, OSError):  # No folder that numba could keep compiled code in.
        return njit(signature, nogil=True)(function)


@njit(**_SUM)
def _scale(coefficients, exact, weights):  # type: ignore[no-untyped-def]
    """Divide by the largest magnitude, so that no sum overflows."""
    largest = 0.0
    for term in range(len(coefficients)):
        largest = max(largest, abs(coefficients[term]))
    if largest == 0:
        largest = 1.0
    for term in range(len(coefficients)):
        exact[term] = coefficients[term] / largest
        weights[term] = exact[term]


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
    """Write the sum taken in float64, and return its length."""
    square = 0.0
    for dim in range(len(out)):
        total = 0.0
        for event in range(len(rows)):
            total += weights[event] * vectors[rows[event], dim]
        out[dim] = total
        square += total * total
    return np.sqrt(square)


@intrinsic(prefer_literal=True)
def _add_rows(_context, sums, vectors, rows, weights, start, stop, first, column, width, n_parts):  # type: ignore[no-untyped-def]
    """Sum ``weights[part, first + i] * vectors[rows[start + i], column : column + width]``.

    Written out, because a loop over an array of sums goes to memory and back for every event;
    these stay in registers. Rows further on, of users to come too, are fetched ahead.
    """
    parameters = (sums, vectors, rows, weights, start, stop, first, column, width, n_parts)
    n_columns, parts = width.literal_value, range(n_parts.literal_value)
    # Columns in vectors of 16 numbers, and what is left in 8, 4, 2 and 1.
    pieces, at = [], 0
    for size in (16, 8, 4, 2, 1):
        while n_columns - at >= size:
            pieces.append((at, size))
            at += size

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = signature.args
        whole, word, real = ir.IntType(64), ir.IntType(32), ir.FloatType()
        structs = [context.make_array(kinds[i])(context, builder, values[i]) for i in range(4)]
        event_start, event_stop, first_weight, first_column = values[4:8]

        def pointer(array: int, *index: Any) -> Any:
            return cgutils.get_item_pointer(
                context, builder, kinds[array], structs[array], list(index), wraparound=False
            )

        def row_at(event: Any) -> Any:
            return builder.sext(builder.load(pointer(2, event)), whole)

        def columns(array: int, row: Any, at: int, size: int) -> Any:
            place = pointer(array, row, builder.add(first_column, whole(at)))
            return builder.bitcast(place, ir.VectorType(real, size).as_pointer())

        def spread(value: Any, size: int) -> Any:
            undefined = ir.Constant(ir.VectorType(real, size), ir.Undefined)
            zeros = ir.Constant(ir.VectorType(word, size), [0] * size)
            first = builder.insert_element(undefined, value, word(0))
            return builder.shuffle_vector(first, undefined, zeros)

        slots = {}
        for part in parts:
            for at, size in pieces:
                kind = ir.VectorType(real, size)
                slots[part, at] = cgutils.alloca_once(builder, kind)
                builder.store(ir.Constant(kind, [0.0] * size), slots[part, at])
        n_events = cgutils.unpack_tuple(builder, structs[2].shape, 1)[0]
        last = builder.sub(n_events, whole(1))
        shift = builder.sub(first_weight, event_start)
        with cgutils.for_range_slice(builder, event_start, event_stop, whole(1), intp=whole) as (
            event,
            _,
        ):
            ahead = builder.add(event, whole(_AHEAD))
            ahead = builder.select(builder.icmp_signed("<", ahead, last), ahead, last)
            row = row_at(ahead)
            for at in range(0, n_columns, _CACHE_LINE):
                _prefetch(builder, builder.bitcast(columns(1, row, at, 1), _BYTES))
            row, at_weight = row_at(event), builder.add(event, shift)
            factors = [builder.load(pointer(3, whole(part), at_weight)) for part in parts]
            for at, size in pieces:
                piece = builder.load(columns(1, row, at, size), align=4)
                for part in parts:
                    product = builder.fmul(spread(factors[part], size), piece, flags=("contract",))
                    slot = slots[part, at]
                    total = builder.fadd(builder.load(slot), product, flags=("contract",))
                    builder.store(total, slot)
        for (part, at), slot in slots.items():
            size = slot.type.pointee.count
            builder.store(builder.load(slot), columns(0, whole(part), at, size), align=4)
        return context.get_dummy_value()

    return types.void(*parameters), codegen


_BYTES = ir.IntType(8).as_pointer()


def _prefetch(builder: Any, place: Any) -> None:
    """Ask for the cache line at a place, for reading."""
    word = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, word, word, word])
    prefetch = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
    builder.call(prefetch, [place, word(0), word(3), word(1)])


@njit(nogil=True)
def _find(slots, term_rows, row, first):  # type: ignore[no-untyped-def]
    """Return the slot of a row in an open hash table of positions, taken or free."""
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
    given = (_FLOAT64S, _INT32, _INT64, types.float64, types.float64)
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
