"""Pooling: the decayed average of 100,000 users of 50 events, against PyTorch's EmbeddingBag.

Run as a script, it compares the loop in LLVM IR (``skue/kernels/_pooling_numba.py``) with plain
numba code instead::

    python benchmarks/_pooling.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from _timing import medians, side_by_side, speed_ratio

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, MixedUserEncoder
from skue.kernels import _pooling, _pooling_numba

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

    All contenders start from the same arrays (item codes, offsets, vectors) and return unit
    vectors. EmbeddingBag is timed twice: with the event weights given, and with PyTorch computing
    the weights from the offsets, as the encoder does.
    """
    items, histories = task(n_dims, n_users, n_events, n_items)
    encoder = DecayAverageUserEncoder(items, decay=DECAY).fit(histories[:1000])

    def with_scipy() -> np.ndarray:
        with pooled_by_scipy():
            return encoder.transform(histories)

    arrays = histories.codes.copy(), histories.offsets.copy()  # torch warns if they are read-only.
    given, computed = embedding_bags(items.vectors, *arrays)
    contenders: dict[str, Callable[[], Any]] = {
        "skue, numba": lambda: encoder.transform(histories),
        "skue, scipy": with_scipy,
        "EmbeddingBag, weights given": given,
        "EmbeddingBag, weights computed": computed,
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


def task(
    n_dims: int, n_users: int, n_events: int, n_items: int
) -> tuple[ItemEmbeddings, Histories]:
    """Return random items and histories of random events."""
    rng = np.random.default_rng(0)
    items = ItemEmbeddings(rng.normal(size=(n_items, n_dims)).astype(np.float32))
    codes = rng.integers(0, n_items, n_users * n_events).astype(np.int32)
    return items, Histories(codes, np.arange(n_users + 1) * n_events, np.arange(n_items))


def measure_plain_numba(n_dims: int, n_decays: int, **options: int) -> tuple[float, float]:
    """Return how many times as long plain numba code takes: pooling alone, and ``transform``."""
    items, histories = task(n_dims, 100_000, 50, 50_000)
    encoder = (DecayAverageUserEncoder, MixedUserEncoder)[n_decays - 1](items)
    encoder.fit(histories[:1000])
    weights = _pooling._weights_by_age(histories.offsets, (DECAY, 0.2)[:n_decays])

    def pool() -> Any:
        events = histories.codes, histories.offsets
        return _pooling_numba.pool(weights, *events, items.vectors, by_age=True)[0]

    plain_kernel = compile_plain_kernel(n_dims, n_decays)
    ratios = []
    for function in (pool, lambda: encoder.transform(histories)):

        def plain(function: Callable[[], Any] = function) -> Any:
            with patched(_pooling_numba, "_pool_kernel", lambda *_: plain_kernel):
                return function()

        np.testing.assert_allclose(plain(), function(), atol=2e-6)
        seconds = side_by_side({"llvm": function, "plain": plain}, **options)
        ratios.append(speed_ratio(seconds, "llvm", "plain"))
    return ratios[0], ratios[1]


def compile_plain_kernel(n_dims: int, n_parts: int) -> Any:
    """Compile the pooling around a plain loop over eight events at a time.

    Loops over one or four events at a time are slower, and so is copying a user's item vectors
    first. Compiled without numba's cache, which would return the loop in LLVM IR.
    """
    from numba import njit

    @njit(nogil=True, fastmath={"contract"})
    def add_rows(sums, vectors, rows, weights, start, stop, first, column, width, parts):  # type: ignore[no-untyped-def]
        if column > 0:  # All columns were added with the first tile.
            return
        sums[:] = 0
        own = rows[start:stop].view(np.uint32)
        n_blocks = len(own) // 8
        for at in range(0, 8 * n_blocks, 8):
            v0, v1, v2 = vectors[own[at]], vectors[own[at + 1]], vectors[own[at + 2]]
            v3, v4, v5 = vectors[own[at + 3]], vectors[own[at + 4]], vectors[own[at + 5]]
            v6, v7 = vectors[own[at + 6]], vectors[own[at + 7]]
            for part in range(n_parts):
                w, total = weights[part, first + at : first + at + 8], sums[part]
                w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
                for d in range(n_dims):
                    value = total[d] + w0 * v0[d] + w1 * v1[d] + w2 * v2[d] + w3 * v3[d]
                    total[d] = value + w4 * v4[d] + w5 * v5[d] + w6 * v6[d] + w7 * v7[d]
        for event in range(8 * n_blocks, len(own)):
            vector = vectors[own[event]]
            for part in range(n_parts):
                weight, total = weights[part, first + event], sums[part]
                for d in range(n_dims):
                    total[d] += weight * vector[d]

    def compile_uncached(function: Callable[..., Any], signature: tuple[Any, ...]) -> Any:
        return njit(signature, nogil=True)(function)

    with (
        patched(_pooling_numba, "add_rows", add_rows),
        patched(_pooling_numba, "compiled", compile_uncached),
    ):
        return _pooling_numba._pool_kernel.__wrapped__(n_dims, n_parts)


@contextmanager
def patched(module: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of a module for a while."""
    saved = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, saved)


def pooled_by_scipy() -> Any:
    """Pool as without the extra ``fast``."""
    return patched(_pooling, "_compiled", lambda: None)


def embedding_bags(
    vectors: np.ndarray, codes: np.ndarray, offsets: np.ndarray
) -> tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]:
    """Return EmbeddingBag with the weights given, and with the weights computed."""
    import torch

    bag = torch.nn.EmbeddingBag.from_pretrained(
        torch.tensor(vectors), mode="sum", include_last_offset=True
    )
    ids, bounds = torch.from_numpy(codes), torch.from_numpy(offsets).int()

    def compute_weights() -> Any:
        ends = torch.repeat_interleave(bounds[1:], bounds[1:] - bounds[:-1])
        ages = ends - 1 - torch.arange(len(ids), dtype=torch.int32)
        return torch.exp(ages * -DECAY)

    weights = compute_weights()

    @torch.no_grad()
    def given() -> np.ndarray:
        pooled = bag(ids, bounds, per_sample_weights=weights)
        return torch.nn.functional.normalize(pooled, dim=1).numpy()

    @torch.no_grad()
    def computed() -> np.ndarray:
        pooled = bag(ids, bounds, per_sample_weights=compute_weights())
        return torch.nn.functional.normalize(pooled, dim=1).numpy()

    return given, computed


if __name__ == "__main__":
    print("plain numba code / loop in LLVM IR, seconds")
    for n_dims in (64, 128):
        for n_decays in (1, 2):
            pooling, transform = measure_plain_numba(n_dims, n_decays)
            print(f"{n_dims} dimensions, {n_decays} decays: ", end="")
            print(f"pooling {pooling:.2f}, transform {transform:.2f}", flush=True)
