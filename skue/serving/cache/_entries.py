"""Entries of a store: user vectors as bytes with a checksum or signature, and their keys."""

from __future__ import annotations

import hashlib
import hmac
import struct
import time as clock
from typing import Any, NamedTuple

import numpy as np

_MAGIC = b"skueV"
_SCHEMA = 2
# Magic, schema, length of the encoder id, n_dims, time in seconds since 1970.
_HEADER = struct.Struct("<5sBHId")
# Plain checksums have 16 bytes, signatures 32.
_SEAL_BYTES = {False: 16, True: 32}
_SHORTEST_KEY = 16
# Seconds by which the clocks of two machines may differ.
_CLOCK_TOLERANCE = 10.0
# How far from 1 the squared length of a vector may be.
_TOLERANCE = 1e-3
# LMDB accepts keys of up to 511 bytes.
_LONGEST_ID = 256


class Entry(NamedTuple):
    """A user vector and when it was computed."""

    vector: np.ndarray
    time: float


def pack_entry(key: str, encoder_id: str, entry: Entry, secret: bytes | None = None) -> bytes:
    """Return an entry as bytes that end in a checksum, or in a signature if a secret is given.

    Both cover the entry, the id of the encoder and the key of the entry, which holds the user id.
    """
    name = encoder_id.encode()
    vector = entry.vector.astype("<f4").tobytes()
    header = _HEADER.pack(_MAGIC, _SCHEMA, len(name), len(entry.vector), entry.time)
    data = header + name + vector
    return data + _seal(key, data, secret)


def unpack_entry(
    key: str,
    encoder_id: str,
    n_dims: int,
    data: Any,
    secret: bytes | None = None,
    *,
    zero: bool = False,
) -> Entry | None:
    """Return the entry, or None for bytes that are not a valid entry of this key and encoder.

    Parameters
    ----------
    secret : bytes or None
        The entry must be signed with it. Without a secret, the entry must not be signed.
    zero : bool
        Whether a vector of zeros is valid.
    """
    name = encoder_id.encode()
    n_seal = _SEAL_BYTES[secret is not None]
    size = _HEADER.size + len(name) + 4 * n_dims + n_seal
    if not isinstance(data, bytes) or len(data) != size:
        return None
    content = data[:-n_seal]
    if not hmac.compare_digest(_seal(key, content, secret), data[-n_seal:]):
        return None
    magic, schema, name_length, dims, time = _HEADER.unpack_from(content)
    if (magic, schema, name_length, dims) != (_MAGIC, _SCHEMA, len(name), n_dims):
        return None
    if content[_HEADER.size :][: len(name)] != name:
        return None
    vector = np.frombuffer(content, "<f4", n_dims, _HEADER.size + len(name))
    if not 0 <= time <= clock.time() + _CLOCK_TOLERANCE:
        return None
    # Squares do not overflow in float64. Comparisons with NaN are False.
    wide = vector.astype(np.float64)
    if abs(float(wide.dot(wide)) - 1) <= _TOLERANCE or (zero and not vector.any()):
        return Entry(vector, time)
    return None


def are_sound(vectors: np.ndarray, zero: bool) -> np.ndarray:
    """Return which rows are valid user vectors: of length 1, or zeros if these are allowed."""
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    # Comparisons with NaN are False.
    sound = np.abs(squares - 1) <= _TOLERANCE
    return sound | ~vectors.any(axis=1) if zero else sound


def key_of(encoder_id: str, user_id: Any) -> str:
    """Return the key of a user's vector. The number 7 and the text "7" are two users.

    Text that is long or cannot be encoded as UTF-8 is hashed. Otherwise the store would reject
    the key, and the cache would treat the store as down.
    """
    if not isinstance(user_id, str):
        return f"skue:{encoder_id}:i:{user_id}"
    if user_id.isascii() and len(user_id) <= _LONGEST_ID:
        return f"skue:{encoder_id}:s:{user_id}"
    text = user_id.encode(errors="surrogatepass")
    if len(text) > _LONGEST_ID or text.decode(errors="ignore") != user_id:
        return f"skue:{encoder_id}:h:{hashlib.sha256(text).hexdigest()}"
    return f"skue:{encoder_id}:s:{user_id}"


def checked_secret(key: Any) -> bytes | None:
    """Return the key to sign with; raise if it is too short. No error shows the key."""
    if key is None:
        return None
    if not isinstance(key, bytes):
        raise ValueError(
            f"key must be bytes, got {type(key).__name__}. Make one with secrets.token_bytes(32), "
            "and use the same one in every process that shares the store."
        )
    if len(key) < _SHORTEST_KEY:
        raise ValueError(
            f"key must have at least {_SHORTEST_KEY} bytes, got {len(key)}. Make one with "
            "secrets.token_bytes(32)."
        )
    return key


def _seal(key: str, data: bytes, secret: bytes | None) -> bytes:
    name = key.encode()
    message = struct.pack("<I", len(name)) + name + data
    if secret is None:
        return hashlib.blake2b(message, digest_size=_SEAL_BYTES[False]).digest()
    return hmac.digest(secret, message, "sha256")
