"""Encoding in chunks of users, by threads or joblib workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from skue.histories._histories import Histories
from skue.kernels._threads import spread

# Number of users encoded at a time. It is fixed, and the same users are always encoded together, so
# that results do not depend on n_jobs or on the chunk size of a caller.
CHUNK_SIZE = 4096


def encode_histories(encoder: Any, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors (zero where undefined) and the mask of the defined ones."""
    n_users = len(histories)
    if n_users <= CHUNK_SIZE:
        return encoder._encode_events(encoder._events_of(histories))
    vectors = np.empty((n_users, encoder.item_embeddings_.n_dims), dtype=np.float32)
    defined = np.empty(n_users, dtype=bool)
    chunks = [slice(start, start + CHUNK_SIZE) for start in range(0, n_users, CHUNK_SIZE)]

    def encode(users: slice) -> None:
        events = encoder._events_of(histories[users])
        vectors[users], defined[users] = encoder._encode_events(events)

    if effective_n_jobs(encoder.n_jobs) > 1:
        parts = _workers(encoder)(
            delayed(encoder._encode_events)(encoder._events_of(histories[users]))
            for users in chunks
        )
        for users, part in zip(chunks, parts, strict=True):
            vectors[users], defined[users] = part
    elif encoder._threaded:
        spread(encode, chunks)
    else:
        for users in chunks:
            encode(users)
    return vectors, defined


def encoded_chunks(
    encoder: Any, histories: Histories, chunk_size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the vectors of ``chunk_size`` users at a time, with their rows.

    Users are encoded in the same chunks as in the whole batch, and the result is cut.
    """
    n_users, start = len(histories), 0
    n_together = -(-chunk_size // CHUNK_SIZE) * CHUNK_SIZE
    waiting = np.empty((0, encoder.item_embeddings_.n_dims), dtype=np.float32)
    for first in range(0, n_users, n_together):
        encoded = encode_histories(encoder, histories[first : first + n_together])
        vectors = encoder._with_fallback(*encoded, first_row=first)
        waiting = np.concatenate([waiting, vectors]) if len(waiting) else vectors
        is_last = first + n_together >= n_users
        while len(waiting) >= chunk_size or (is_last and len(waiting)):
            chunk, waiting = waiting[:chunk_size], waiting[chunk_size:]
            yield slice(start, start + len(chunk)), chunk
            start += len(chunk)


def _workers(encoder: Any) -> Parallel:
    """Return joblib's workers; results come one by one if the backend can do that."""
    options = {"n_jobs": encoder.n_jobs, "prefer": "threads" if encoder._threaded else None}
    try:
        return Parallel(**options, return_as="generator")
    except ValueError:  # joblib's multiprocessing backend returns all results at once
        return Parallel(**options)
