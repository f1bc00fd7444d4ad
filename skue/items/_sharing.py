"""Items sent to every worker of a cluster once, however many tasks use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from skue._estimator import import_optional
from skue.items._item_embeddings import ItemEmbeddings, shared_items


@contextmanager
def share_items(client: Any, items: ItemEmbeddings) -> Iterator[ItemEmbeddings]:
    """Send items to every worker of a dask cluster once.

    Inside the ``with`` block, the items are sent to the workers and back as a short name, also
    when they are part of an encoder. Workers that join or restart receive the items too. Do not
    keep pickles made inside the block: they cannot be loaded after it.

    Parameters
    ----------
    client : dask.distributed.Client
        A client of the cluster.
    items : ItemEmbeddings
        The items to send.

    Yields
    ------
    items : ItemEmbeddings
        The object that was passed.

    Examples
    --------
    >>> from distributed import Client, LocalCluster  # doctest: +SKIP
    >>> with Client() as client, share_items(client, items):  # doctest: +SKIP
    ...     with joblib.parallel_config(backend="dask"):
    ...         vectors = encoder.set_params(n_jobs=-1).transform(histories)
    """
    if items._shared_as is not None:  # Shared by an outer block.
        yield items
        return
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
