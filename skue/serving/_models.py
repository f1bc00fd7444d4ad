"""From a fitted estimator to the parts that serving needs: its encoder, items and space."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from skue.encoders._base import UserEncoder
from skue.items._item_embeddings import ItemEmbeddings


class Model(NamedTuple):
    """An encoder and the steps that its vectors pass before they are searched."""

    encoder: UserEncoder
    later: list[Any]

    @property
    def space_id(self) -> str:
        """Name of the space of the vectors that come out of the last step."""
        space_id = self.encoder.space_id_
        if not self.later:
            return space_id
        # As they are once loaded from a pickle, which changes the memory layout of some arrays
        # and with it the hash.
        later = pickle.loads(pickle.dumps(self.later))
        return f"{space_id}+{joblib.hash(later)[:16]}"

    def items(self) -> ItemEmbeddings:
        """Return the items as they are after the last step."""
        items = self.encoder.item_embeddings_
        if not self.later:
            return items
        vectors: Any = items.vectors
        for step in self.later:
            names = getattr(step, "feature_names_in_", None)
            if names is not None:
                from skue._optional import import_optional

                vectors = import_optional("pandas", "io").DataFrame(
                    np.asarray(vectors), columns=names
                )
            vectors = step.transform(vectors)
        return ItemEmbeddings(np.asarray(vectors), items.ids, space_id=self.space_id)


def model_of(estimator: Any) -> Model:
    """Find the encoder inside an estimator, and the steps after it.

    Parameters
    ----------
    estimator : encoder, Pipeline, or ColumnTransformer whose only output is one encoder

    Raises
    ------
    ValueError
        When there is no encoder, or a later step does not transform, naming the steps.
    """
    found = _find(estimator)
    if found is None:
        raise ValueError(
            f"{type(estimator).__name__} holds no user encoder whose vectors are its only output. "
            "Pass a fitted encoder, or a Pipeline or ColumnTransformer around one."
        )
    return found


def _find(estimator: Any) -> Model | None:
    if isinstance(estimator, UserEncoder):
        return Model(estimator, [])
    if isinstance(estimator, Pipeline):
        steps = [(n, step) for n, step in estimator.steps if step not in (None, "passthrough")]
        for at, (_, step) in enumerate(steps):
            found = _find(step)
            if found is None:
                continue
            for name, later in steps[at + 1 :]:
                if not hasattr(later, "transform"):
                    raise ValueError(
                        f"Step {name!r} ({type(later).__name__}) after the encoder does not "
                        "transform, so the pipeline gives no vectors to search. Export "
                        "pipeline[:-1]."
                    )
            return Model(found.encoder, found.later + [later for _, later in steps[at + 1 :]])
    if isinstance(estimator, ColumnTransformer):
        fitted = getattr(estimator, "transformers_", estimator.transformers)
        used = [step for _, step, columns in fitted if step != "drop" and len(columns)]
        if len(used) == 1:
            return _find(used[0])
    return None
