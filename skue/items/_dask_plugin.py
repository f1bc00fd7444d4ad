"""The part of ``share_items`` that runs on dask workers. Imported only when dask is used."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from skue.items._item_embeddings import ItemEmbeddings, shared_items


class ItemsPlugin(WorkerPlugin):
    """Registers the items on every worker that starts, for unpickling."""

    def __init__(self, name: str, state: dict[str, Any]) -> None:
        self.name = name
        self.state = state

    def setup(self, worker: Any) -> None:
        """Register the items."""
        items = ItemEmbeddings.__new__(ItemEmbeddings)
        items.__setstate__(self.state)
        items._shared_as = self.name
        # If the workers are threads, the client's items are registered already.
        shared_items.setdefault(self.name, items)

    def teardown(self, worker: Any) -> None:
        """Remove the items."""
        shared_items.pop(self.name, None)
