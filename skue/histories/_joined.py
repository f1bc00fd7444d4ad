"""Add newer events to a log."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.histories._checks import refuse_other_kind
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.kernels._segments import offsets_of, owners, positions_of_ranges
from skue.reading._ids import is_text, shown


def joined(log: Histories, newer: Histories) -> Histories:
    """Return a log with newer events, matched by user id and sorted by it.

    Both have the same vocabulary. Weights are dropped.

    Raises
    ------
    ValueError
        If one has no user ids, or a newer event is older than one of the same user in the log.
    """
    if log.user_ids is None or newer.user_ids is None:
        raise ValueError(
            f"update needs user_ids to match newer events with their users, but the histories of "
            f"{'fit' if log.user_ids is None else 'update'} have none. Build them with "
            "Histories.from_frame or from_lists(..., user_ids=...)."
        )
    if (log.timestamps is None) != (newer.timestamps is None):
        raise ValueError("The histories of fit and update must both have timestamps, or neither.")
    if log.timestamps is not None and newer.timestamps is not None:
        refuse_other_kind(
            newer.timestamps, log.timestamps, "The timestamps of update", "those of fit"
        )
    if is_text(log.user_ids) != is_text(newer.user_ids) and len(newer):
        raise ValueError(
            f"user_ids must have the same type as those of fit, such as {shown(log.user_ids[0])}, "
            f"got {shown(newer.user_ids[0])}."
        )
    for ids in (log.user_ids, newer.user_ids):
        if len(np.unique(ids)) < len(ids):
            raise ValueError("update needs one history per user, but user_ids has duplicates.")
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
    if timestamps is None:
        _refuse_whole_histories(log, newer)
    else:
        _refuse_late_events(timestamps, offsets, user_ids)
    return Histories._trusted(codes, offsets, log.vocabulary, timestamps, None, user_ids)


def _refuse_whole_histories(log: Any, newer: Any) -> None:
    """Raise if most users with two or more events start with all that the log has of them."""
    rows = Vocabulary._trusted(log.user_ids).lookup(newer.user_ids)
    lengths = np.where(rows >= 0, log.lengths[rows], 0)
    able = np.flatnonzero(lengths > 1)
    if not len(able):
        return
    enough = able[newer.lengths[able] >= lengths[able]]
    counted = positions_of_ranges(log.offsets[:-1][rows[enough]], lengths[enough])
    given = positions_of_ranges(newer.offsets[:-1][enough], lengths[enough])
    different = log.codes[counted] != newer.codes[given]
    n_different = np.bincount(np.repeat(np.arange(len(enough)), lengths[enough]), different)
    if np.sum(n_different == 0) > len(able) / 2:
        raise ValueError(
            "update takes only events that were not counted before, but most histories start with "
            "all events that were. Pass the newer events alone, each once."
        )


def _refuse_late_events(timestamps: np.ndarray, offsets: np.ndarray, user_ids: np.ndarray) -> None:
    if len(timestamps) < 2:
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
