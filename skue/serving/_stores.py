"""Stores of bytes for a cache: Redis, an LMDB file that processes share, or any mapping."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import struct
import threading
import time as clock
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from numbers import Real
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skue._estimator import import_optional

# Redis counts the milliseconds.
_REDIS_CONSTRAINTS: dict[str, list[Any]] = {
    "timeout": [Interval(Real, 0, None, closed="neither")],
    "expire": [None, Interval(Real, 0.001, None, closed="left")],
}


class Store(Protocol):
    """What :class:`skue.UserVectorCache` needs of a store: to read, write and remove bytes.

    A dict and every other ``MutableMapping`` of str to bytes is a store. So is any object with
    the three methods below, which may be called from several threads at a time. If one of them
    raises anything but ``KeyError``, the store counts as down for a second.

    A store with round trips should also have ``get_many(keys)``, which returns a dict of the
    entries that exist, ``set_many(entries)``, and ``delete_many(keys)``, which ignores keys that
    do not exist. They are used where they exist.

    Examples
    --------
    >>> from skue.serving import Store
    >>> class Shouting:
    ...     def __init__(self):
    ...         self.entries = {}
    ...     def __getitem__(self, key: str) -> bytes:
    ...         return self.entries[key.upper()]
    ...     def __setitem__(self, key: str, value: bytes) -> None:
    ...         self.entries[key.upper()] = value
    ...     def __delitem__(self, key: str) -> None:
    ...         del self.entries[key.upper()]
    >>> store: Store = Shouting()
    """

    def __getitem__(self, key: str, /) -> bytes:
        """Return an entry; raise KeyError if it does not exist."""

    def __setitem__(self, key: str, value: bytes, /) -> None:
        """Write an entry, which may exist."""

    def __delitem__(self, key: str, /) -> None:
        """Remove an entry; raise KeyError if it does not exist."""


class _BulkStore(MutableMapping[str, bytes]):
    """A mapping that reads, writes and removes many entries at a time."""

    @abstractmethod
    def get_many(self, keys: list[str]) -> dict[str, bytes]:
        """Return the entries that exist.

        Parameters
        ----------
        keys : list of str
            Keys of the entries.

        Returns
        -------
        entries : dict of str to bytes
        """

    @abstractmethod
    def set_many(self, entries: Mapping[str, bytes]) -> None:
        """Write entries.

        Parameters
        ----------
        entries : mapping of str to bytes
            The entries by key.
        """

    @abstractmethod
    def delete_many(self, keys: list[str]) -> None:
        """Remove entries; missing ones are ignored.

        Parameters
        ----------
        keys : list of str
            Keys of the entries.
        """

    def __getitem__(self, key: str) -> bytes:
        return self.get_many([key])[key]

    def __setitem__(self, key: str, value: bytes) -> None:
        self.set_many({key: value})

    def __delitem__(self, key: str) -> None:
        self[key]  # raises for a key that does not exist
        self.delete_many([key])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class RedisStore(_BulkStore):
    """A Redis server as a store. One round trip reads or writes many entries.

    Parameters
    ----------
    url : str, default="redis://localhost:6379/0"
        Address of the server, with the number of the database.
    timeout : float, default=0.1
        Seconds after which a call without an answer fails. Without a timeout, a server that hangs
        would block a thread forever.
    expire : float or None, default=None
        Seconds, at least 0.001, after which the server removes an entry, so that those of replaced
        encoders do not pile up. None leaves this to the memory policy of the server.

    Examples
    --------
    >>> from skue import RedisStore
    >>> store = RedisStore("redis://localhost:6379/0", expire=7 * 86400)  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        timeout: float = 0.1,
        expire: float | None = None,
    ) -> None:
        given = {"timeout": timeout, "expire": expire}
        validate_parameter_constraints(_REDIS_CONSTRAINTS, given, "RedisStore")
        redis = import_optional("redis", "redis")
        self.expire = expire
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # The cache tries again later. A retry here would only block its thread.
            retry=None,
            decode_responses=False,
        )

    def get_many(self, keys: list[str]) -> dict[str, bytes]:
        values = self._client.mget(keys) if keys else []
        return {k: value for k, value in zip(keys, values, strict=True) if value is not None}

    def set_many(self, entries: Mapping[str, bytes]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for key, value in entries.items():
            pipeline.set(key, value, px=None if self.expire is None else int(self.expire * 1000))
        pipeline.execute()

    def delete_many(self, keys: list[str]) -> None:
        if keys:
            self._client.delete(*keys)

    def __iter__(self) -> Iterator[str]:
        return (key.decode() for key in self._client.scan_iter("skue:*"))


class LMDBStore(_BulkStore):
    """A memory-mapped file as a store that the processes of one machine share.

    Every write is a transaction: a process that is killed in the middle of a write leaves the
    entries as they were. After a power failure, delete the folder: on some file systems the file
    is damaged, and every entry can be computed again. Open a folder only once per process, and
    after forking.

    Parameters
    ----------
    path : str or path
        Folder of the file, created if it does not exist.
    max_bytes : int, default=2**30
        Maximum size of the file. Once it is full, writes fail and the cache counts them.

    Examples
    --------
    >>> import tempfile
    >>> from skue import LMDBStore
    >>> store = LMDBStore(tempfile.mkdtemp())  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = 2**30) -> None:
        lmdb = import_optional("lmdb", "lmdb")
        self._environment = lmdb.open(os.fspath(path), map_size=max_bytes, sync=False)
        self._environment.reader_check()

    def get_many(self, keys: list[str]) -> dict[str, bytes]:
        with self._environment.begin() as transaction:
            found = {key: transaction.get(key.encode()) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def set_many(self, entries: Mapping[str, bytes]) -> None:
        with self._environment.begin(write=True) as transaction:
            for key, value in entries.items():
                transaction.put(key.encode(), value)

    def delete_many(self, keys: list[str]) -> None:
        with self._environment.begin(write=True) as transaction:
            for key in keys:
                transaction.delete(key.encode())

    def close(self) -> None:
        """Close the file."""
        self._environment.close()

    def __iter__(self) -> Iterator[str]:
        with self._environment.begin() as transaction:
            keys = [bytes(key).decode() for key in transaction.cursor().iternext(values=False)]
        return iter(keys)


class GuardedStore:
    """Calls a store with many entries at a time, and pauses for a second after a failure.

    Reading, writing and removing pause independently, so that a full store can still be read.

    Parameters
    ----------
    store : Store
    """

    rest = 1.0

    def __init__(self, store: Any) -> None:
        self._store = store
        self._asleep_until: dict[str, float] = {}
        self._lock = threading.Lock()
        self.n_errors = 0
        self.last_error: Exception | None = None

    def get_many(self, keys: list[str]) -> dict[str, Any] | None:
        """Return the entries that exist, or None if the store fails."""
        return self._call("get", self._get, keys)

    def set_many(self, entries: dict[str, bytes]) -> bool:
        """Write entries, and return whether that succeeded."""
        return self._call("set", self._set, entries) is not None

    def delete_many(self, keys: list[str]) -> None:
        """Remove entries."""
        self._call("delete", self._delete, keys)

    def _get(self, keys: list[str]) -> dict[str, Any]:
        if hasattr(self._store, "get_many"):
            return dict(self._store.get_many(keys))
        found = {}
        for key in keys:
            with contextlib.suppress(KeyError):
                found[key] = self._store[key]
        return found

    def _set(self, entries: dict[str, bytes]) -> bool:
        if hasattr(self._store, "set_many"):
            self._store.set_many(entries)
        else:
            for key, value in entries.items():
                self._store[key] = value
        return True

    def _delete(self, keys: list[str]) -> None:
        if hasattr(self._store, "delete_many"):
            self._store.delete_many(keys)
        else:
            for key in keys:
                with contextlib.suppress(KeyError):
                    del self._store[key]

    def _call(self, kind: str, method: Callable[[Any], Any], argument: Any) -> Any:
        """Return what a method returns, or None if it fails or pauses."""
        if clock.monotonic() < self._asleep_until.get(kind, 0.0):
            return None
        try:
            return method(argument)
        except Exception as error:
            with self._lock:
                self.n_errors += 1
                self.last_error = error
                self._asleep_until[kind] = clock.monotonic() + self.rest
            return None


# Name and version of the format, and when the entry was computed, in seconds since 1970.
_HEADER = struct.Struct("<6sd")
_MAGIC = b"skueV3"
_SHORTEST_KEY = 16
# Seconds by which the clocks of two machines may differ.
_CLOCK_TOLERANCE = 10.0
# LMDB accepts keys of up to 511 bytes.
_LONGEST_ID = 256


class Entry(NamedTuple):
    """A user vector, and the time just before its history was loaded."""

    vector: np.ndarray
    time: float


def pack_entry(key: str, entry: Entry, secret: bytes | None = None) -> bytes:
    """Return an entry as bytes that end in a checksum, or in a signature if a secret is given.

    Both cover the entry and its key, which holds the ids of the encoder and the user.
    """
    data = _HEADER.pack(_MAGIC, entry.time) + entry.vector.astype("<f4").tobytes()
    return data + _seal(key, data, secret)


def unpack_entry(key: str, n_dims: int, data: Any, secret: bytes | None = None) -> Entry | None:
    """Return the entry, or None for bytes that are not a valid entry of this key.

    With a secret, the entry must be signed with it; without, it must not be signed.
    """
    n_content = _HEADER.size + 4 * n_dims
    if not isinstance(data, bytes):
        return None
    content, seal = data[:n_content], data[n_content:]
    if not hmac.compare_digest(_seal(key, content, secret), seal):
        return None
    magic, time = _HEADER.unpack_from(content)
    if magic != _MAGIC or time > clock.time() + _CLOCK_TOLERANCE:
        return None
    return Entry(np.frombuffer(content, "<f4", offset=_HEADER.size), time)


def key_of(encoder_id: str, user_id: Any) -> str:
    """Return the key of a user's vector. The number 7 and the text "7" are two users.

    Text that a store might reject as a key, because it is long or not plain, is hashed.
    """
    if not isinstance(user_id, str):
        return f"skue:{encoder_id}:i:{user_id}"
    if user_id.isascii() and len(user_id) <= _LONGEST_ID:
        return f"skue:{encoder_id}:s:{user_id}"
    text = user_id.encode(errors="surrogatepass")
    return f"skue:{encoder_id}:h:{hashlib.sha256(text).hexdigest()}"


def checked_secret(key: Any) -> bytes | None:
    """Return the key to sign with; raise if it is too short. No error shows the key."""
    if key is not None and not (isinstance(key, bytes) and len(key) >= _SHORTEST_KEY):
        size = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise ValueError(
            f"key must be bytes, at least {_SHORTEST_KEY}, got {size}. Make one with "
            "secrets.token_bytes(32), and use the same one in every process that shares the store."
        )
    return key


def _seal(key: str, data: bytes, secret: bytes | None) -> bytes:
    name = key.encode()
    message = struct.pack("<I", len(name)) + name + data
    if secret is None:
        return hashlib.blake2b(message, digest_size=16).digest()
    return hmac.digest(secret, message, "sha256")
