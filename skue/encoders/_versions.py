"""The id of a fitted encoder, and the versions stored in its pickle."""

from __future__ import annotations

import hashlib
import inspect
from numbers import Real
from typing import Any

import numpy as np
import sklearn

from skue._version import __version__

# Incremented when fitted attributes change in a way that an older skue cannot read.
_LAYOUT = 2
_STAMP = "_skue_pickle"


def stamped(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an estimator with the versions of skue and scikit-learn."""
    versions = {"skue": __version__, "scikit-learn": sklearn.__version__, "layout": _LAYOUT}
    return {**state, _STAMP: versions}


def restored(cls: type, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state that this version can use, or raise.

    Encoders contain no scikit-learn objects, so the version of scikit-learn does not matter.
    Parameters that are missing in the pickle get their defaults.
    """
    state = dict(state)
    versions = state.pop(_STAMP, {"skue": "0.1.0", "layout": 1})
    if versions["layout"] > _LAYOUT:
        raise ValueError(
            f"This {cls.__name__} was pickled by skue {versions['skue']} (with scikit-learn "
            f"{versions.get('scikit-learn')}) in layout {versions['layout']}; this is skue "
            f"{__version__}, which reads up to layout {_LAYOUT}. Install skue "
            f"{versions['skue']} or newer, or fit the encoder again with this version."
        )
    if versions["layout"] < 2 and "parameters_" in state:  # the weights of a single user tower
        state["parameters_"] = [state["parameters_"]]
    if "parameters_" in state:
        state.setdefault("interrupted_", False)
        state.setdefault("user_map_", None)
    for name, parameter in inspect.signature(cls).parameters.items():
        if name not in state and parameter.default is not inspect.Parameter.empty:
            state[name] = parameter.default
    return state


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
    """Return a parameter such that equal settings have equal reprs: 1, 1.0, ``np.int64(1)``."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Real):
        return float(value) + 0.0  # -0.0 is 0.0
    if value is None:
        return None
    return tuple(_plain(one) for one in value)
