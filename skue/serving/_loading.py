"""Histories that ``load`` returns: their order, and which of them cannot be encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from sklearn.utils import _safe_indexing

from skue.encoders._base import UserEncoder
from skue.histories._alignment import index_of, rows_of_users
from skue.histories._columns import features_in_order
from skue.histories._forms import as_histories, read_histories
from skue.histories._histories import Histories
from skue.kernels._arrays import offsets_of, positions_of_ranges
from skue.reading._ids import as_ids, shown

Result = TypeVar("Result")


class Loaded(NamedTuple):
    """Vectors of users, errors and counts.

    Attributes
    ----------
    vectors : dict of user to ndarray of shape (n_dims,)
    errors : dict of user to Exception
        The error of each user without a vector.
    n_events, n_unknown : int
        Events of the users with a vector, and how many of them have unknown items.
    n_absent : int
        Users that labelled histories left out. They have no events.
    """

    vectors: dict[Any, np.ndarray]
    errors: dict[Any, Exception]
    n_events: int
    n_unknown: int
    n_absent: int


def load_and_encode(encoder: UserEncoder, users: list[Any], load: Callable[..., Any]) -> Loaded:
    """Call ``load`` once for all users, and encode each history that can be encoded."""
    rows, n_absent = load_rows(users, load)
    items = encoder.item_embeddings_

    def encoded(part: np.ndarray) -> tuple[Histories, np.ndarray]:
        own = rows if len(part) == len(users) else take(rows, part)
        histories = read_histories(own, items.vocabulary)
        return histories, np.asarray(encoder.transform(histories), dtype=np.float32)

    parts, failed = in_parts(np.arange(len(users)), encoded)
    vectors: dict[Any, np.ndarray] = {}
    n_events = n_unknown = 0
    for part, (histories, found) in parts:
        known = items.rows_of(histories) >= 0
        n_events, n_unknown = n_events + len(known), n_unknown + int((~known).sum())
        vectors.update((users[row], vector.copy()) for row, vector in zip(part, found, strict=True))
    errors = {users[row]: error for row, error in failed.items()}
    return Loaded(vectors, errors, n_events, n_unknown, n_absent)


def in_parts(
    users: np.ndarray, attempt: Callable[[np.ndarray], Result]
) -> tuple[list[tuple[np.ndarray, Result]], dict[int, Exception]]:
    """Call a function with the numbers of users, or with parts of them if it fails.

    A part that fails is halved, down to single users: at most 2 n attempts with at most
    n log2(n) users in all. Returns the parts with their results, and the error of each user that
    fails alone.
    """
    results: list[tuple[np.ndarray, Result]] = []
    failed: dict[int, Exception] = {}
    waiting = [users] if len(users) else []
    while waiting:
        part = waiting.pop()
        try:
            results.append((part, attempt(part)))
        except Exception as error:
            if len(part) == 1:
                failed[int(part[0])] = error
            else:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
    return results, failed


def load_rows(users: list[Any], load: Callable[..., Any]) -> tuple[Any, int]:
    """Return one row per user, in the order of the users, and how many users were left out."""
    ids = as_ids(users, "user_ids")
    # So that load cannot bring its rows into another order than that of the users by sorting them.
    ids.flags.writeable = False
    loaded = load(ids)
    labels = labels_of(loaded, "what load returned")
    if labels is not None:
        return _in_order_of(ids, loaded, labels)
    has_rows = hasattr(loaded, "__len__") and not isinstance(loaded, (str, bytes, dict))
    n_rows = len(loaded) if has_rows else len(as_histories(loaded))
    if n_rows != len(users):
        raise ValueError(
            f"load returned {n_rows} histories for {len(users)} users. Return one history per "
            "user, in the order of the ids, or Histories with user_ids."
        )
    return loaded, 0


def labels_of(rows: Any, name: str) -> np.ndarray | None:
    """Return the user of each row of Histories or a pandas object, or None without labels."""
    if isinstance(rows, Histories):
        return rows.user_ids
    index = index_of(rows)
    # The default index of pandas counts the rows.
    if index is None or (
        type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)
    ):
        return None
    return as_ids(index.to_numpy(), f"the index of {name}")


def _in_order_of(ids: np.ndarray, loaded: Any, labels: np.ndarray) -> tuple[Any, int]:
    """Put labelled rows in the order of the users. Users left out get an empty history."""
    asked = set(ids.tolist())
    others = [label for label in labels.tolist() if label not in asked]
    if others:
        raise ValueError(
            f"load returned histories of users that were not asked for, such as {_some(others)}. "
            f"It was asked for {_some(ids.tolist())}."
        )
    is_histories = isinstance(loaded, Histories)
    order = rows_of_users(ids, labels, "what load returned", may_lack=is_histories)
    if order is None:
        return loaded, 0
    rows = _histories_in_order(loaded, order) if is_histories else take(loaded, order)
    return rows, int((order < 0).sum())


def _histories_in_order(histories: Histories, order: np.ndarray) -> Histories:
    """Return the histories of these rows; row -1 is an empty history."""
    if not len(histories):
        return Histories.from_lists([[]] * len(order))
    lengths = np.where(order < 0, 0, histories.lengths[order])
    events = positions_of_ranges(histories.offsets[np.maximum(order, 0)], lengths)
    return Histories._trusted(
        histories.codes[events],
        offsets_of(lengths),
        histories.vocabulary,
        None if histories.timestamps is None else histories.timestamps[events],
        None if histories.weights is None else histories.weights[events],
        None,
        features_in_order(histories.user_features, order),
    )


def take(rows: Any, positions: np.ndarray) -> Any:
    """Return some rows of histories in any form."""
    if isinstance(rows, (list, tuple)):
        return [rows[row] for row in positions.tolist()]
    return rows[positions] if isinstance(rows, Histories) else _safe_indexing(rows, positions)


def user_list(user_ids: Any) -> list[Any]:
    """Return user ids as a list; raise for a single id."""
    # A single string would be taken for a list of its characters.
    if isinstance(user_ids, (str, bytes)) or not isinstance(user_ids, Iterable):
        one = shown(user_ids)
        raise ValueError(f"user_ids must be a list of ids, got {one}. Write one id as [{one}].")
    return as_ids(user_ids, "user_ids").tolist()


def _some(users: list[Any]) -> str:
    return f"[{', '.join(shown(user) for user in users[:5])}]"
