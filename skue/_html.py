"""How estimators show themselves in a notebook: scikit-learn's diagram, with two things added."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any


class DocumentationLink:
    """Link of the diagram to the estimator's page."""

    _doc_link_module = "skue"

    @property
    def _doc_link_template(self) -> str:
        root = documentation_root()
        return f"{root.rstrip('/')}/api/generated/skue.{{estimator_name}}.html" if root else ""


class ItemSpaceCaption(DocumentationLink):
    """One line about the space of items under the encoder's name."""

    def _sk_visual_block_(self) -> Any:
        from sklearn.utils._repr_html.estimator import _VisualBlock

        items = getattr(self, "item_embeddings_", vars(self)["item_embeddings"])
        return _VisualBlock(
            "single",
            self,
            names=type(self).__name__,
            name_details=str(self),
            name_caption=describe_items(items),
        )


def describe_items(items: Any) -> str:
    """Return how many items of how many dimensions, and the space; one line whatever it is."""
    if items is None:
        return "items: learned from the log"
    if hasattr(items, "space_id"):
        return f"items: {len(items):,} × {items.n_dims}, space {items.space_id}"
    if hasattr(items, "fit"):
        return f"items: by {type(items).__name__}"
    shape = getattr(items, "shape", (len(items),))
    return f"items: {' × '.join(f'{length:,}' for length in shape)}"


def documentation_root() -> str:
    """Return where these pages are served: SKUE_DOCS_URL, or what the package's metadata say."""
    if "SKUE_DOCS_URL" in os.environ:
        return os.environ["SKUE_DOCS_URL"]
    try:
        entries = metadata("skue").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    urls = dict(entry.split(", ", 1) for entry in entries)
    return urls.get("Documentation", "")
