"""How much of each history an encoder knows, and what becomes of the user."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skue.encoders._chunks import encode_histories
from skue.histories._histories import Histories
from skue.kernels._pooling import sums_by_user
from skue.kernels._segments import kept_offsets


def coverage_of(encoder: Any, histories: Histories) -> Bunch:
    """Return ``n_events``, ``n_known``, ``known_weight_share`` and ``status`` of each user."""
    known = encoder.item_embeddings_.rows_of(histories) >= 0
    weights = np.ones(len(known)) if histories.weights is None else np.abs(histories.weights)
    n_known = np.diff(kept_offsets(histories.offsets, known))
    _, defined = encode_histories(encoder, histories)
    status = np.full(len(histories), "cancelled", dtype="<U9")
    status[defined] = "encoded"
    status[n_known == 0] = "unknown"
    status[histories.lengths == 0] = "empty"
    total = sums_by_user(weights, histories.offsets)
    share = sums_by_user(weights * known, histories.offsets) / np.where(total > 0, total, 1)
    return Bunch(
        n_events=histories.lengths, n_known=n_known, known_weight_share=share, status=status
    )
