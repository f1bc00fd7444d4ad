"""Warnings that point to the caller's line."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

_INSIDE = ("skue", "sklearn", "contextlib")


def warn_caller(message: str) -> None:
    """Warn at the line outside of skue and scikit-learn that led to this call.

    Python shows a warning once per line, so this also limits repetition.
    """
    frame, level = sys._getframe(), 0
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level + 1)


def import_optional(module: str, extra: str) -> Any:
    """Import a module. If it is not installed, the error names the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.partition('.')[0]} is required but not installed. {way_to(extra)}"
        ) from error


def way_to(extra: str) -> str:
    """Return how to install an extra of skue, for error messages."""
    return f'Run in the clone of skue: python -m pip install -e ".[{extra}]"'


def new_axes() -> Any:
    """Return the axes of a new matplotlib figure."""
    return import_optional("matplotlib.pyplot", "plot").subplots()[1]


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


@contextmanager
def atomic_fit(estimator: Any) -> Iterator[None]:
    """Restore the fitted attributes when the block fails or is interrupted."""
    before = _fitted(estimator)
    try:
        yield
    except BaseException:
        for name in _fitted(estimator):
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def _fitted(estimator: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_")
    }
