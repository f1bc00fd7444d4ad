"""The state of each user for online updates: decayed sums."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

_MAGIC = b"skueS"
_SCHEMA = 1
# Magic, schema, n_users, n_decays, n_dims, length of the encoder's id.
_HEADER = struct.Struct("<5sBQHIH")
_CHECKSUM_BYTES = 16


class Columns(NamedTuple):
    """Columns of the states, one row per user.

    ``sums`` has shape (n_users, n_decays, n_dims) and ``masses`` has shape (n_users, n_decays).
    The others have shape (n_users,): the number of known events, the number of steps or instants
    they span, the oldest and the newest time in seconds (NaN without timestamps), and whether any
    weight was negative.
    """

    sums: np.ndarray
    masses: np.ndarray
    counts: np.ndarray
    spans: np.ndarray
    oldest: np.ndarray
    newest: np.ndarray
    signed: np.ndarray


class UserStates:
    """The state of each user under one averaging encoder: decayed sums instead of events.

    It is created by ``make_state`` and ``update_state`` of an encoder and indexed by user like
    histories. It is immutable: an update returns a new object.

    Parameters
    ----------
    encoder_id : str
        Id of the encoder that the sums belong to.
    columns : Columns

    Attributes
    ----------
    encoder_id : str
    columns : Columns
        Arrays with one row per user.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, UserStates
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> encoder = DecayAverageUserEncoder(items, decay=0.5).fit([["tea", "cup"]])
    >>> state = encoder.make_state([["tea"], []])
    >>> state = encoder.update_state(state, [["cup"], ["tea"]])
    >>> encoder.transform_state(UserStates.from_bytes(state.to_bytes())).round(2)
    array([[0.52, 0.86],
           [1.  , 0.  ]], dtype=float32)
    """

    __slots__ = ("columns", "encoder_id")

    def __init__(self, encoder_id: str, columns: Columns) -> None:
        self.encoder_id, self.columns = encoder_id, columns

    @property
    def n_events(self) -> np.ndarray:
        """Number of known events of each user, shape (n_users,)."""
        return self.columns.counts

    @classmethod
    def concatenate(cls, states: Iterable[UserStates]) -> UserStates:
        """Concatenate the users of several states.

        Parameters
        ----------
        states : iterable of UserStates
            At least one, all from the same encoder.

        Returns
        -------
        states : UserStates
        """
        states = list(states)
        ids = sorted({state.encoder_id for state in states})
        if len(ids) != 1:
            raise ValueError(f"states must be from the same encoder, got encoder ids {ids}.")
        parts = zip(*(state.columns for state in states), strict=True)
        return cls(ids[0], Columns(*(np.concatenate(part) for part in parts)))

    def to_bytes(self) -> bytes:
        """Return the states as bytes with a checksum, to store or send them."""
        encoder_id = self.encoder_id.encode()
        header = _HEADER.pack(_MAGIC, _SCHEMA, *self.columns.sums.shape, len(encoder_id))
        arrays = zip(self.columns, _dtypes(), strict=True)
        data = b"".join([header, encoder_id, *(a.astype(t, "C").tobytes() for a, t in arrays)])
        return data + _checksum(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> UserStates:
        """Read bytes written by :meth:`to_bytes`, without pickle.

        Parameters
        ----------
        data : bytes-like

        Returns
        -------
        states : UserStates

        Raises
        ------
        ValueError
            If the bytes are damaged, are not states, or have a newer schema.
        """
        data = memoryview(data).tobytes()
        if len(data) < _HEADER.size + _CHECKSUM_BYTES or data[: len(_MAGIC)] != _MAGIC:
            raise ValueError(f"data ({len(data)} bytes) does not contain user states.")
        content, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        _, schema, n_users, n_decays, n_dims, id_length = _HEADER.unpack_from(data)
        if schema > _SCHEMA:
            raise ValueError(
                f"data has schema {schema}, but this skue reads up to {_SCHEMA}. Upgrade skue."
            )
        if _checksum(content) != checksum:
            raise ValueError(
                f"data ({len(data)} bytes) is damaged: the checksum differs. Compute the states "
                "again from the histories."
            )
        at = _HEADER.size
        encoder_id = content[at : at + id_length].decode()
        at += id_length
        shapes = [(n_users, n_decays, n_dims), (n_users, n_decays), *[(n_users,)] * 5]
        arrays = []
        for shape, dtype in zip(shapes, _dtypes(), strict=True):
            size = int(np.prod(shape))
            arrays.append(np.frombuffer(content, dtype, size, at).reshape(shape))
            at += arrays[-1].nbytes
        return cls(encoder_id, Columns(*arrays))

    def __len__(self) -> int:
        return len(self.columns.counts)

    def __getitem__(self, key: Any) -> UserStates:
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            row = range(len(self))[key]
            key = slice(row, row + 1)
        elif isinstance(key, (bool, np.bool_)):
            raise IndexError(f"States are selected by an integer, a slice or a mask, got {key!r}.")
        return UserStates(self.encoder_id, Columns(*(column[key] for column in self.columns)))

    def __repr__(self) -> str:
        return (
            f"UserStates(n_users={len(self)}, n_dims={self.columns.sums.shape[2]}, "
            f"encoder_id={self.encoder_id!r})"
        )


def _dtypes() -> list[str]:
    return ["<f8", "<f8", "<i8", "<i8", "<f8", "<f8", "?"]


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECKSUM_BYTES).digest()
