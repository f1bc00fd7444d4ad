"""The inner loop of pooling in LLVM IR: sums in registers, item vectors fetched ahead.

numba compiles a Python loop over an array of sums to one that loads and stores the sums for every
event, and it has no prefetch. The plain loop in ``benchmarks/_pooling.py`` takes 2.0 to 2.2 times
as long with 64 dimensions and one decay, 1.5 to 1.7 times with two decays, and 1.05 to 1.3 times
with 128 dimensions (100,000 users of 50 events, 50,000 items, AMD EPYC with 2 cores). To measure
this again, run ``python benchmarks/_pooling.py``. To compare the results with a slow loop, run
``python -m pytest tests/kernels/test_pooling.py``.

numba's cache on disk does not notice changes to this file. Delete ``skue/kernels/__pycache__``
after a change.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# float32 numbers in a cache line.
CACHE_LINE = 16
# How many events ahead item vectors are fetched: the loop is bound by memory latency.
_AHEAD = 32

_INT64, _INT32, _FLOAT32 = ir.IntType(64), ir.IntType(32), ir.FloatType()
_BYTES = ir.IntType(8).as_pointer()


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
