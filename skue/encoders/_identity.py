"""The id of a fitted encoder: a hash of all that its vectors depend on."""

from __future__ import annotations

import hashlib
from numbers import Real
from typing import Any

import numpy as np


def encoder_id(encoder: Any) -> str:
    """Return the hash of an encoder's class, parameters, items and fitted arrays."""
    parameters = [(name, _plain(getattr(encoder, name))) for name in encoder._output_parameters]
    items = encoder.item_embeddings_
    header = (type(encoder).__name__, sorted(parameters), items.space_id, items.catalog_id)
    digest = hashlib.blake2b(repr(header).encode(), digest_size=8)
    for array in [encoder.fallback_vector_, *encoder._fitted_arrays()]:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Return a parameter so that equal settings look equal: 1, 1.0 and ``np.int64(1)``."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Real):
        return float(value) + 0.0  # -0.0 is 0.0
    if value is None:
        return None
    return tuple(_plain(one) for one in value)
