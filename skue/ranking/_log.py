"""The log that a ranker counts: newer events are added, and newest instants are held out."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.histories._columns import optional
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.kernels._segments import offsets_of, owners, starts_of_runs
from skue.ranking._counts import liked_events
from skue.reading._ids import is_text, shown


def liked_log(items: Any, histories: Histories) -> Histories:
    """Return the liked events of known items, with the item rows as codes, sorted by user id."""
    events = liked_events(items, histories)
    log = Histories._trusted(
        events.rows, events.offsets, items.vocabulary, events.timestamps, None, histories.user_ids
    )
    if log.user_ids is None:
        return log
    # In a fixed order, sums of floating-point numbers do not depend on the order of the users.
    return log[np.argsort(log.user_ids, kind="stable")]


def extended_log(log: Histories, newer: Histories) -> Histories:
    """Return the log with newer events, matched by user id. Both are from :func:`liked_log`."""
    if log.user_ids is None or newer.user_ids is None:
        raise ValueError(
            f"update needs user_ids to know whose the newer events are, but the histories of "
            f"{'fit' if log.user_ids is None else 'update'} have none. Build them with "
            "Histories.from_frame or from_lists(..., user_ids=...)."
        )
    if (log.timestamps is None) != (newer.timestamps is None):
        raise ValueError("The histories of fit and update must both have timestamps, or neither.")
    if is_text(log.user_ids) != is_text(newer.user_ids) and len(newer):
        raise ValueError(
            f"user_ids must have the same type as those of fit, such as {shown(log.user_ids[0])}, "
            f"got {shown(newer.user_ids[0])}."
        )
    user_ids = np.unique(np.concatenate([log.user_ids, newer.user_ids]))
    places = Vocabulary._trusted(user_ids)
    parts = log, newer
    users = np.concatenate([places.lookup(p.user_ids)[owners(p.offsets)] for p in parts])
    order = np.argsort(users, kind="stable")
    timestamps = None
    if log.timestamps is not None:
        timestamps = np.concatenate([p.timestamps for p in parts])[order]
    codes = np.concatenate([p.codes for p in parts])[order]
    offsets = offsets_of(np.bincount(users, minlength=len(user_ids)))
    _refuse_late_events(timestamps, offsets, user_ids)
    return Histories._trusted(codes, offsets, log.vocabulary, timestamps, None, user_ids)


def _refuse_late_events(
    timestamps: np.ndarray | None, offsets: np.ndarray, user_ids: np.ndarray
) -> None:
    if timestamps is None or len(timestamps) < 2:
        return
    falls = np.append(False, timestamps[1:] < timestamps[:-1])
    falls[offsets[:-1][np.diff(offsets) > 0]] = False
    late = np.flatnonzero(falls)
    if len(late):
        user = user_ids[int(np.searchsorted(offsets, late[0], side="right")) - 1]
        raise ValueError(
            f"update takes only events newer than those already counted, but user {shown(user)} "
            f"has one at {timestamps[late[0]]}, before {timestamps[late[0] - 1]}. Pass the newer "
            "events alone, each once."
        )


def newest_instants(
    histories: Histories, share: float, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Choose people with two or more instants, and mark their newest instant.

    Returns
    -------
    rows : ndarray of shape (n_chosen,)
        Rows of the chosen people.
    held_out : ndarray of shape (n_events,), bool
    """
    position = np.arange(len(histories.codes))
    times = position if histories.timestamps is None else histories.timestamps
    opens = np.flatnonzero(starts_of_runs(times, histories.offsets))
    ends = histories.offsets[1:]
    newest = ends.copy()
    filled = histories.lengths > 0
    newest[filled] = opens[np.searchsorted(opens, ends[filled], side="left") - 1]
    able = np.flatnonzero(newest > histories.offsets[:-1])
    able = able[filled[able]]
    rows = np.sort(random_state.permutation(able)[: round(share * len(able))])
    chosen = np.zeros(len(histories), dtype=bool)
    chosen[rows] = True
    lengths = histories.lengths
    return rows, np.repeat(chosen, lengths) & (position >= np.repeat(newest, lengths))
