"""What all estimators share: fits that succeed as a whole, caller warnings, optional imports."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, metadata
from numbers import Integral
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

Method = TypeVar("Method", bound=Callable[..., Any])
_INSIDE = ("skue", "sklearn", "contextlib")


def atomic_fit(fit: Method) -> Method:
    """Decorate ``fit`` so that it checks the parameters, and succeeds as a whole or not at all.

    The method runs on a shallow copy, whose state replaces that of the estimator in one step at
    the end. If it fails or is interrupted, the estimator is unchanged. Other threads see the
    earlier fit or the new one: see :func:`of_one_fit`.
    """
    checked = _fit_context(prefer_skip_nested_validation=False)(fit)

    @functools.wraps(fit)
    def fit_then_replace(self: Any, *args: Any, **kwargs: Any) -> Any:
        fitted = _with_state(self, vars(self).copy())
        checked(fitted, *args, **kwargs)
        self.__dict__ = vars(fitted)
        return self

    return fit_then_replace  # type: ignore[return-value]


def of_one_fit(method: Method) -> Method:
    """Decorate a method that reads fitted attributes: all of them are those of one fit.

    Another thread may fit the estimator again while the method runs.
    """

    @functools.wraps(method)
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(_with_state(self, vars(self)), *args, **kwargs)

    return read  # type: ignore[return-value]


def _with_state(estimator: Any, state: dict[str, Any]) -> Any:
    other = object.__new__(type(estimator))
    other.__dict__ = state
    return other


def check_fitted(estimator: Any, attribute: str) -> None:
    """Raise if the estimator is not fitted. For calls of microseconds, in which tags cost much."""
    if not hasattr(estimator, attribute):
        check_is_fitted(estimator, attribute)


def check_positive_int(name: str, value: Any) -> None:
    """Raise unless the value is an integer of at least 1. True is not an integer here."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")


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
            f"{module.partition('.')[0]} is required but not installed. Run in the clone of skue: "
            f'python -m pip install -e ".[{extra}]"'
        ) from error


def new_axes() -> Any:
    """Return the axes of a new matplotlib figure."""
    return import_optional("matplotlib.pyplot", "plot").subplots()[1]


class DocumentationLink:
    """Links the diagram of an estimator to its documentation page."""

    _doc_link_module = "skue"

    @property
    def _doc_link_template(self) -> str:
        """The URL of a page: below SKUE_DOCS_URL, or the one in the package metadata."""
        root = os.environ.get("SKUE_DOCS_URL")
        if root is None:
            try:
                entries = metadata("skue").get_all("Project-URL") or []
            except PackageNotFoundError:
                return ""
            root = dict(entry.split(", ", 1) for entry in entries).get("Documentation", "")
        return f"{root.rstrip('/')}/api/generated/skue.{{estimator_name}}.html" if root else ""
