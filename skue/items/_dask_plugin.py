"""The part of ``share_items`` that runs on the workers; imported only where dask is in use."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from skue.items._item_embeddings import ItemEmbeddings, shared_items


class ItemsPlugin(WorkerPlugin):
    """Puts the items where unpickling looks for them, on every worker that starts."""

    def __init__(self, name: str, state: dict[str, Any]) -> None:
        self.name = name
        self.state = state

    def setup(self, worker: Any) -> None:
        """Take the items in."""
        items = ItemEmbeddings.__new__(ItemEmbeddings)
        items.__setstate__(self.state)
        items._shared_as = self.name
        # In a cluster of threads the items of the client are there already.
        shared_items.setdefault(self.name, items)

    def teardown(self, worker: Any) -> None:
        """Let the items go."""
        shared_items.pop(self.name, None)
