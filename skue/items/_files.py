"""Item embeddings in files."""

from __future__ import annotations

from os import PathLike
from typing import Self

import numpy as np

from skue.histories._npz import check_schema, read_arrays, write_arrays

SPACE = ("space_id", "aligned_with", "agreement")
_SAVED = ("vectors", "ids", *SPACE, "_learned_events")
_SCHEMA = 2


class SavedInFiles:
    """The methods that write and read ``.npz`` files."""

    _learned_events: np.ndarray | None

    def save(self, path: str | PathLike[str]) -> None:
        """Write vectors and ids to an ``.npz`` file.

        The write is atomic: after a failure, an existing file is unchanged.

        Parameters
        ----------
        path : str or path
            Used as given, without adding a suffix. An existing file is replaced.
        """
        parts = {name: getattr(self, name) for name in _SAVED}
        held = {name: np.asarray(part) for name, part in parts.items() if part is not None}
        write_arrays(path, {"schema": np.array(_SCHEMA), **held})

    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = False) -> Self:
        """Read a file written by :meth:`save`. Nothing is unpickled.

        Parameters
        ----------
        path : str or path
        mmap : bool, default=False
            Map the vectors from disk instead of reading them, so that processes share them. Do
            not change the file while the items are in use.

        Returns
        -------
        items : ItemEmbeddings

        Raises
        ------
        ValueError
            If the file is damaged, was not written by ``save`` or has a newer schema.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from skue import ItemEmbeddings
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.npz"
        >>> ItemEmbeddings([[1, 0]], ids=["tea"]).save(path)
        >>> len(ItemEmbeddings.load(path))
        1
        """
        parts = read_arrays(path, mmap=mmap)
        needed = ("vectors", "ids", "space_id")
        check_schema(path, parts, "schema", _SCHEMA, needed, "ItemEmbeddings.save")
        space = {name: parts[name].item() for name in SPACE if name in parts}
        items = cls(**{"vectors": parts["vectors"], "ids": parts["ids"], **space})
        items._learned_events = parts.get("_learned_events")
        return items
