"""Checks of item vectors and ids."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp

from skue.kernels._read_only import frozen
from skue.kernels._rows import aligned_rows, row_norms
from skue.reading._ids import as_ids, is_text, shown
from skue.reading._numbers import numbers_of

_UNIT_TOLERANCE = 1e-6


def as_unit_rows(vectors: Any) -> np.ndarray:
    """Return C-contiguous float32 rows of length 1. Raise for rows that cannot be scaled."""
    given = vectors
    if hasattr(vectors, "columns"):  # extension types of pandas become plain numbers
        given = numbers_of(vectors, "vectors")
    given = given.toarray() if sp.issparse(given) else np.asarray(given)
    if given.dtype == np.longdouble:
        given = given.astype(np.float64)
    if given.ndim != 2 or not given.shape[1]:
        raise ValueError(
            f"vectors must have shape (n_items, n_dims), got shape {given.shape}. Pass one row per "
            "item."
        )
    if given.dtype.kind not in "iuf":
        raise ValueError(f"vectors must be numbers, got dtype {given.dtype}.")
    norms = _lengths(given)
    for refused, what in ((~np.isfinite(norms), "NaN or infinity"), (norms == 0, "only zeros")):
        rows = np.flatnonzero(refused)
        if len(rows):
            raise ValueError(
                f"vectors must be finite and not zero, but {len(rows)} row(s) hold {what}: "
                f"rows {rows[:5].tolist()}. Drop these items, or give them a vector."
            )
    is_unit = given.dtype == np.float32 and (np.abs(norms - 1) <= _UNIT_TOLERANCE).all()
    if is_unit and given.flags.c_contiguous:
        if not given.flags.writeable:
            return frozen(given)
        norms = np.ones(len(given))
    unit = aligned_rows(given.shape)
    np.divide(given, norms[:, None], out=unit, casting="same_kind")
    return unit


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths of rows; squares of very large and small numbers do not overflow."""
    norms = row_norms(vectors, np.float64)
    odd = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(odd) and vectors.shape[1]:
        rows = vectors[odd].astype(np.float64)
        largest = np.abs(rows).max(axis=1)
        some = np.isfinite(largest) & (largest > 0)
        norms[odd[some]] = largest[some] * row_norms(rows[some] / largest[some, None])
    return norms


def ids_or_index(ids: Any, values: Any) -> Any:
    """Return the ids if there are any, or the index of a pandas DataFrame, or None."""
    if ids is None and hasattr(values, "index") and hasattr(values, "columns"):
        return values.index
    return ids


def as_item_ids(ids: Any, n_items: int, name: str = "vectors") -> np.ndarray:
    """Return the ids of items, by default the row numbers. Duplicates are not checked."""
    ids = np.arange(n_items) if ids is None else as_ids(ids, "ids")
    if len(ids) != n_items:
        raise ValueError(
            f"ids and {name} must have the same length, got {len(ids)} and {n_items}. Pass one "
            f"id per row of {name}."
        )
    _refuse_as_items(ids)
    return ids


def _refuse_as_items(ids: np.ndarray) -> None:
    refused = np.flatnonzero(ids == "" if is_text(ids) else ids < 0)
    if len(refused):
        raise ValueError(
            f"ids must not be negative or empty, got {shown(ids[refused[0]])} at row "
            f"{refused[0]}. Such ids mean padding and missing recommendations. Use other ids."
        )


def check_space(space_id: Any, aligned_with: Any, agreement: Any) -> None:
    """Raise if the name of a space or its alignment is invalid."""
    for name, value in (("space_id", space_id), ("aligned_with", aligned_with)):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} must be a string or None, got {value!r}.")
    if agreement is None:
        return
    is_number = isinstance(agreement, Real) and not isinstance(agreement, bool)
    if not is_number or not 0 <= float(agreement) <= 1:
        raise ValueError(f"agreement must be a number from 0 to 1 or None, got {agreement!r}.")
    if aligned_with is None:
        raise ValueError(
            f"agreement={agreement!r} needs aligned_with: the space_id that it was measured with."
        )


def as_more_items(
    vectors: Any, ids: Any, n_dims: int, existing_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors and ids to add to a catalogue."""
    vectors = as_unit_rows(vectors)
    ids = as_ids(ids, "ids")
    _refuse_as_items(ids)
    if vectors.shape[1] != n_dims:
        raise ValueError(
            f"vectors must have the {n_dims} dimensions of the space, got {vectors.shape[1]}."
        )
    if is_text(ids) != is_text(existing_ids) and len(existing_ids) and len(ids):
        raise ValueError(
            f"ids must be of one type, got {shown(ids[0])}, but the catalogue has "
            f"{shown(existing_ids[0])}. Convert all ids to integers or all to strings."
        )
    return vectors, ids
