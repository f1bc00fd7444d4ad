"""Histories in files."""

from __future__ import annotations

from os import PathLike
from typing import Self

import numpy as np

from skue.histories._npz import check_schema, read_arrays, write_arrays

NEEDED = ("codes", "offsets", "item_ids")
OPTIONAL = ("timestamps", "weights", "user_ids", "user_features")
_SCHEMA = 3
# Of files without user features, which older versions read too.
_SCHEMA_BEFORE = 2


class SavedInFiles:
    """The methods that write and read ``.npz`` files."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the batch to an ``.npz`` file in one atomic step.

        Parameters
        ----------
        path : str or path
            Used as given, without adding a suffix. An existing file is replaced.
        """
        columns = {name: getattr(self, name) for name in (*NEEDED, *OPTIONAL)}
        held = {name: column for name, column in columns.items() if column is not None}
        schema = _SCHEMA if "user_features" in held else _SCHEMA_BEFORE
        write_arrays(path, {"histories_schema": np.array(schema), **held})

    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = False) -> Self:
        """Read a file written by :meth:`save`. Nothing is unpickled.

        Parameters
        ----------
        path : str or path
        mmap : bool, default=False
            Map the columns from disk and read them when they are used, for batches larger than
            memory. Do not change the file while the batch is in use.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            For a file that is damaged, of another kind or of a newer schema.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from skue import Histories
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "histories.npz"
        >>> Histories.from_lists([["tea", "cup"], ["cup"]]).save(path)
        >>> Histories.load(path, mmap=True)
        Histories(n_users=2, n_events=3, n_items=2)
        """
        columns = read_arrays(path, mmap=mmap)
        check_schema(path, columns, "histories_schema", _SCHEMA, NEEDED, "Histories.save")
        try:
            return cls(**{name: columns.get(name) for name in (*NEEDED, *OPTIONAL)})
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
