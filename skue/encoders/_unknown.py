"""Errors and warnings about events of unknown items."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from skue._warn import warn_caller
from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures
from skue.reading._ids import is_text, shown

UnknownItem: TypeAlias = Literal["ignore", "warn", "raise"]

# With fewer events than this, a few new users with new items are a likely explanation.
_MANY_EVENTS = 30
_FEW_USERS = 100


def report_unknown(
    encoder: Any, histories: Histories, *, also_known: ItemFeatures | None = None
) -> None:
    """Raise or warn, as ``unknown_item`` says, about events of unknown items.

    With ``unknown_item="ignore"`` there is a warning only if no event is known and this looks like
    a mistake: the ids have another type than those of the items, or there are at least 30 events.
    Items of ``also_known`` are known, too.
    """
    items = encoder.item_embeddings_
    if not len(histories.codes) or items.vocabulary.map_of(histories.vocabulary)[1]:
        return
    ignored = encoder.unknown_item == "ignore"
    if ignored and (items.rows_of(histories[:_FEW_USERS]) >= 0).any():
        return  # the usual case, found without reading all events
    known = items.rows_of(histories) >= 0
    if ignored:
        if not known.any():
            _warn_of_nothing_known(items, histories)
        return
    if also_known is not None:
        known |= also_known.lookup(histories.item_ids)[histories.codes] >= 0
    unknown = np.flatnonzero(~known)
    if not len(unknown):
        return
    ids = histories.item_ids[np.unique(histories.codes[unknown])]
    row = int(np.searchsorted(histories.offsets, unknown[0], side="right")) - 1
    message = (
        f"X has {len(unknown)} events of {len(ids)} items that are not in "
        f"item_embeddings_, such as [{', '.join(map(shown, ids[:5]))}], the first at row {row}."
    )
    if encoder.unknown_item == "raise":
        raise ValueError(f"{message} Set unknown_item='ignore' to ignore them.")
    warn_caller(f"{message} They are ignored.")


def nothing_known(items: ItemEmbeddings, histories: Histories) -> str:
    """Return a message that no event is known, with an id from X and one of the items."""
    if not len(histories.codes):
        return "X has no events: all histories are empty."
    held = _kind(items.ids) if len(items) else "none"
    first = histories.item_ids[histories.codes[:1]]
    return (
        f"None of the {len(histories.codes)} events in X has a known item: the ids in X are "
        f"{_kind(first)}, those in item_embeddings {held}."
    )


def _warn_of_nothing_known(items: ItemEmbeddings, histories: Histories) -> None:
    same_type = is_text(histories.item_ids) == is_text(items.ids)
    if same_type and len(histories.codes) < _MANY_EVENTS:
        return
    way_out = "Pass the same ids as in item_embeddings"
    if not same_type:
        way_out += ", with the same type"
    warn_caller(
        f"{nothing_known(items, histories)} Every user gets the fallback vector. {way_out}."
    )


def _kind(ids: np.ndarray) -> str:
    """Describe ids by their type and the first of them."""
    return f"{'strings' if is_text(ids) else 'integers'} such as {shown(ids[0])}"
