"""The events that are counted: liked ones, without wrong clocks, and newer ones that are added."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue._estimator import warn_caller
from skue.histories._clocks import as_of_end, described
from skue.histories._columns import refuse_other_kind
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary, check_same_type
from skue.kernels._arrays import (
    offsets_of,
    owners,
    positions_of_ranges,
)
from skue.ranking._counts import liked_events
from skue.reading._ids import as_ids, shown


def counted_log(items: Any, histories: Histories) -> Histories:
    """Return the liked events of known items, with their rows as codes, sorted by user id.

    Times after the end of the log are set to it, with a warning.
    """
    log = as_of_end(_liked(items, histories))
    # In a fixed order, sums of floating-point numbers do not depend on the order of the users.
    return log if log.user_ids is None else log[np.argsort(log.user_ids, kind="stable")]


def updated_log(log: Histories, items: Any, histories: Histories) -> Histories:
    """Return a counted log with newer events, matched by user id.

    Events that are older than one of the same user in the log are left out with a warning.
    """
    newer = _liked(items, histories)
    _refuse_other_kinds(log, newer)
    if log.timestamps is None:
        _warn_of_whole_histories(log, newer)
    elif len(newer.codes):
        newer = as_of_end(newer, np.concatenate([log.timestamps, newer.timestamps]))
        newer = _without_late_events(log, newer)
    user_ids = np.unique(np.concatenate([log.user_ids, newer.user_ids]))
    places = Vocabulary._trusted(user_ids)
    parts = log, newer
    users = np.concatenate([places.lookup(part.user_ids)[owners(part.offsets)] for part in parts])
    if log.timestamps is None:
        timestamps, order = None, np.argsort(users, kind="stable")
    else:
        timestamps = np.concatenate([part.timestamps for part in parts])
        order = np.lexsort((timestamps, users))
        timestamps = timestamps[order]
    codes = np.concatenate([part.codes for part in parts])[order]
    offsets = offsets_of(np.bincount(users, minlength=len(user_ids)))
    return Histories._trusted(codes, offsets, log.vocabulary, timestamps, None, user_ids)


def log_without(log: Histories, user_ids: Any) -> Histories:
    """Return a counted log without some of its users."""
    if log.user_ids is None:
        raise ValueError(
            "forget needs user_ids to find the events of a user, but the histories of fit have "
            "none. Build them with Histories.from_frame or from_lists(..., user_ids=...)."
        )
    forgotten = as_ids(user_ids, "user_ids")
    check_same_type(forgotten, log.user_ids, "user_ids", "those of fit are such as")
    unknown = forgotten[~np.isin(forgotten, log.user_ids)]
    if len(unknown):
        raise ValueError(
            f"{len(unknown)} of {len(forgotten)} user_ids are not in the log, such as "
            f"{shown(unknown[0])}. Pass only those that are in log_.user_ids."
        )
    return log[~np.isin(log.user_ids, forgotten)]


def _liked(items: Any, histories: Histories) -> Histories:
    events = liked_events(items, histories)
    return Histories._trusted(
        events.rows, events.offsets, items.vocabulary, events.timestamps, None, histories.user_ids
    )


def _without_late_events(log: Histories, newer: Histories) -> Histories:
    """Leave out events that are older than the newest of the same user in the log."""
    assert log.user_ids is not None and log.timestamps is not None
    rows = Vocabulary._trusted(log.user_ids).lookup(newer.user_ids)
    rows = np.where(log.lengths[rows] > 0, rows, -1)[owners(newer.offsets)]
    last = log.timestamps[np.maximum(log.offsets[1:][rows] - 1, 0)]
    late = (rows >= 0) & (newer.timestamps < last)
    if not late.any():
        return newer
    first = np.flatnonzero(late)[0]
    warn_caller(
        f"update takes only events newer than those already counted. {late.sum()} of "
        f"{len(late)} are not, and are left out, such as {described(newer, first)}, whose newest "
        f"counted event is of {last[first]}."
    )
    return newer._keep_events(~late)


def _refuse_other_kinds(log: Histories, newer: Histories) -> None:
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
    check_same_type(newer.user_ids, log.user_ids, "user_ids", "those of fit are such as")
    if len(np.unique(log.user_ids)) < len(log):
        raise ValueError(
            "fit had several histories of one user, so update cannot tell which one goes on. Fit "
            "on one history a user to update later."
        )


def _warn_of_whole_histories(log: Histories, newer: Histories) -> None:
    """Warn if most users with two or more events start with all that the log has of them."""
    assert log.user_ids is not None
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
        warn_caller(
            "Most histories of update start with all events that are counted already. They are "
            "counted again, as repeats. If these are whole histories, fit again, and pass only "
            "the newer events to update."
        )
