"""HTML representations of estimators and histories in notebooks."""

from __future__ import annotations

import os
from html import escape
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any


class DocumentationLink:
    """Links the diagram of an estimator to its documentation page."""

    _doc_link_module = "skue"

    @property
    def _doc_link_template(self) -> str:
        root = documentation_root()
        return f"{root.rstrip('/')}/api/generated/skue.{{estimator_name}}.html" if root else ""


class ItemSpaceCaption(DocumentationLink):
    """Adds one line about the item space below the encoder's name."""

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
    """Return one line with the number of items and dimensions, and the space."""
    if items is None:
        return "items: learned from the log"
    if hasattr(items, "space_id"):
        return f"items: {len(items):,} × {items.n_dims}, space {items.space_id}"
    if hasattr(items, "fit"):
        return f"items: by {type(items).__name__}"
    shape = getattr(items, "shape", (len(items),))
    return f"items: {' × '.join(f'{length:,}' for length in shape)}"


def documentation_root() -> str:
    """Return the URL of the documentation: SKUE_DOCS_URL, or the one in the package metadata."""
    if "SKUE_DOCS_URL" in os.environ:
        return os.environ["SKUE_DOCS_URL"]
    try:
        entries = metadata("skue").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    urls = dict(entry.split(", ", 1) for entry in entries)
    return urls.get("Documentation", "")


def histories_table(histories: Any, *, n_users: int = 5, n_items: int = 8) -> str:
    """Return histories as HTML: size, period, and the newest items of the first few users."""
    facts = [
        f"{len(histories):,} users",
        f"{len(histories.codes):,} events",
        f"{len(histories.item_ids):,} items",
    ]
    times = histories.timestamps
    if times is not None and len(times):
        facts.append(f"{_moment(times.min())} to {_moment(times.max())}")
    if histories.weights is not None:
        facts.append("with weights")
    if histories.user_features is not None:
        facts.append(f"{histories.user_features.shape[1]} user features")
    rows = []
    for row in range(min(n_users, len(histories))):
        history = histories[row]
        user = row if histories.user_ids is None else histories.user_ids[row]
        newest = [_cell(item) for item in history[-n_items:].tolist()]
        if len(history) > n_items:
            newest.insert(0, "…")
        rows.append(
            f"<tr><th>{_cell(user)}</th><td>{len(history):,}</td><td>{', '.join(newest)}</td></tr>"
        )
    if len(histories) > n_users:
        rows.append("<tr><th>…</th><td></td><td></td></tr>")
    return (
        f"<div><p><b>Histories</b>: {', '.join(facts)}</p><table><thead><tr><th>user</th>"
        "<th>events</th><th>items, oldest first</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return escape(text if len(text) <= 40 else f"{text[:39]}…")


def _moment(time: Any) -> str:
    """Return a readable time: a date to the second, or a number of seconds."""
    return (
        str(time.astype("datetime64[s]")).replace("T", " ")
        if time.dtype.kind == "M"
        else f"{time:g} s"
    )
