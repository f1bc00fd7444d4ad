"""Pooling: the decayed average of 100,000 users of 50 events, against PyTorch's EmbeddingBag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from _timing import medians, side_by_side, speed_ratio

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings
from skue.kernels import _pooling

DECAY = 0.07


def measure(
    n_dims: int,
    *,
    n_users: int = 100_000,
    n_events: int = 50,
    n_items: int = 50_000,
    **options: int,
) -> dict[str, Any]:
    """Return medians and ratios of the two backends against EmbeddingBag.

    Everyone starts from the same arrays (item codes, offsets, vectors) and ends with unit
    vectors. EmbeddingBag is timed twice: with the event weights given, free of charge, and with
    the weights worked out by PyTorch from the offsets, as the encoder has to.
    """
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n_items, n_dims)).astype(np.float32)
    items = ItemEmbeddings(vectors)
    codes = rng.integers(0, n_items, n_users * n_events).astype(np.int32)
    offsets = np.arange(n_users + 1) * n_events
    histories = Histories(codes, offsets, np.arange(n_items))
    encoder = DecayAverageUserEncoder(items, decay=DECAY).fit(histories[:1000])

    def with_scipy() -> np.ndarray:
        with pooled_by_scipy():
            return encoder.transform(histories)

    given, worked_out = embedding_bags(items.vectors, codes, offsets)
    contenders: dict[str, Callable[[], Any]] = {
        "skue, numba": lambda: encoder.transform(histories),
        "skue, scipy": with_scipy,
        "EmbeddingBag, weights given": given,
        "EmbeddingBag, weights worked out": worked_out,
    }
    expected = given()
    for contender in contenders.values():
        np.testing.assert_allclose(contender(), expected, atol=2e-6)
    seconds = side_by_side(contenders, **options)
    return {
        "seconds": medians(seconds),
        "ratios": {
            f"{name} / {peer}": speed_ratio(seconds, name, peer)
            for name in list(contenders)[:2]
            for peer in list(contenders)[2:]
        },
    }


@contextmanager
def pooled_by_scipy() -> Iterator[None]:
    """Pool as without the extra ``fast``."""
    compiled = _pooling._compiled
    _pooling._compiled = lambda: None
    try:
        yield
    finally:
        _pooling._compiled = compiled


def embedding_bags(
    vectors: np.ndarray, codes: np.ndarray, offsets: np.ndarray
) -> tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]:
    """Return EmbeddingBag with weights given, and with weights worked out."""
    import torch

    bag = torch.nn.EmbeddingBag.from_pretrained(
        torch.tensor(vectors), mode="sum", include_last_offset=True
    )
    ids, bounds = torch.from_numpy(codes), torch.from_numpy(offsets).int()

    def weigh() -> Any:
        ends = torch.repeat_interleave(bounds[1:], bounds[1:] - bounds[:-1])
        ages = ends - 1 - torch.arange(len(ids), dtype=torch.int32)
        return torch.exp(ages * -DECAY)

    weights = weigh()

    @torch.no_grad()
    def given() -> np.ndarray:
        pooled = bag(ids, bounds, per_sample_weights=weights)
        return torch.nn.functional.normalize(pooled, dim=1).numpy()

    @torch.no_grad()
    def worked_out() -> np.ndarray:
        pooled = bag(ids, bounds, per_sample_weights=weigh())
        return torch.nn.functional.normalize(pooled, dim=1).numpy()

    return given, worked_out
