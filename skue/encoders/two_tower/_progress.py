"""Progress of training, through the callbacks of scikit-learn 1.9 or newer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

try:
    from sklearn import callback
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
except ImportError:
    callback = None

    class CallbackSupport:  # type: ignore[no-redef]
        """Without effect before scikit-learn 1.9."""


HAS_CALLBACKS = callback is not None

Method = TypeVar("Method", bound=Callable[..., Any])


def with_callbacks(fit: Method) -> Method:
    """Set up callbacks before ``fit`` and tear them down after it, if scikit-learn has them.

    Editors and type checkers see the signature of ``fit`` itself.
    """
    return callback.with_callbacks(fit) if HAS_CALLBACKS else fit


class Progress:
    """Calls the callbacks of an estimator after every epoch.

    Parameters
    ----------
    estimator : estimator
    n_epochs : int
        Maximum number of epochs.
    """

    def __init__(self, estimator: Any, n_epochs: int) -> None:
        self.estimator, self.n_epochs = estimator, n_epochs

    def __enter__(self) -> Callable[[], bool]:
        if not HAS_CALLBACKS:
            return lambda: False
        self.context = self.estimator._init_callback_context(max_subtasks=self.n_epochs)
        self.context.call_on_fit_task_begin(estimator=self.estimator)
        return self._on_epoch

    def __exit__(self, *failure: Any) -> None:
        if HAS_CALLBACKS and failure[0] is None:
            self.context.call_on_fit_task_end(estimator=self.estimator)

    def _on_epoch(self) -> bool:
        epoch = self.context.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(estimator=self.estimator)
        return bool(epoch.call_on_fit_task_end(estimator=self.estimator))
