"""Generated data sets."""

from skue.datasets._user_histories import make_user_histories

__all__ = ["make_user_histories"]
