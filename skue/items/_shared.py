"""Items held by this process, by the name under which ``share_items`` sent them."""

from __future__ import annotations

from typing import Any

shared_items: dict[str, Any] = {}


def shared(name: str) -> Any:
    """Return shared items by their name. Unpickling calls this."""
    if name not in shared_items:
        raise RuntimeError(
            f"The shared items {name!r} are not in this process. Unpickle inside the share_items "
            "block. To keep a pickle for later, make it outside of the block."
        )
    return shared_items[name]
