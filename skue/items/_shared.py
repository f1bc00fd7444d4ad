"""Items that reach every worker of a cluster once, however many tasks need them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from skue.items._item_embeddings import ItemEmbeddings, shared_items


@contextmanager
def share_items(client: Any, items: ItemEmbeddings) -> Iterator[ItemEmbeddings]:
    """Send items to every worker of a dask cluster once.

    Inside the ``with`` block the items, and with them every encoder that holds them, travel to
    the workers and back as a name of a few bytes; workers that join or restart get the items
    too. What is pickled inside the block must not be kept for later.

    Parameters
    ----------
    client : dask.distributed.Client
    items : ItemEmbeddings

    Yields
    ------
    items : ItemEmbeddings
        The same object.

    Examples
    --------
    >>> from distributed import Client, LocalCluster  # doctest: +SKIP
    >>> with Client() as client, share_items(client, items):  # doctest: +SKIP
    ...     with joblib.parallel_config(backend="dask"):
    ...         vectors = encoder.set_params(n_jobs=-1).transform(histories)
    """
    if items._shared_as is not None:  # An outer block shares them already.
        yield items
        return
    from skue._optional import import_optional

    import_optional("distributed", "dask")
    from skue.items._dask_plugin import ItemsPlugin

    name = f"skue-items-{uuid4().hex}"
    client.register_plugin(ItemsPlugin(name, items.__getstate__()), name=name)
    shared_items[name], items._shared_as = items, name
    try:
        yield items
    finally:
        items._shared_as = None
        shared_items.pop(name, None)
        client.unregister_worker_plugin(name)
