"""How a user vector is written into a store, and read only if it is whole and one's own."""

from __future__ import annotations

import hashlib
import struct
from typing import Any, NamedTuple

import numpy as np

_MAGIC = b"skueV"
_SCHEMA = 1
# Magic, schema, length of the encoder's id, n_dims, time in seconds since 1970.
_HEADER = struct.Struct("<5sBHId")
_CHECKSUM_BYTES = 16
# LMDB takes keys of up to 511 bytes.
_LONGEST_ID = 256


class Entry(NamedTuple):
    """A user vector and when it was computed."""

    vector: np.ndarray
    time: float


def pack_entry(key: str, encoder_id: str, entry: Entry) -> bytes:
    """Return an entry as bytes, with a checksum over it and the key it belongs to."""
    name = encoder_id.encode()
    vector = entry.vector.astype("<f4").tobytes()
    header = _HEADER.pack(_MAGIC, _SCHEMA, len(name), len(entry.vector), entry.time)
    data = header + name + vector
    return data + _checksum(key, data)


def unpack_entry(key: str, encoder_id: str, n_dims: int, data: Any) -> Entry | None:
    """Return the entry, or None for bytes that are not this key's entry of this encoder."""
    name = encoder_id.encode()
    size = _HEADER.size + len(name) + 4 * n_dims + _CHECKSUM_BYTES
    if not isinstance(data, bytes) or len(data) != size:
        return None
    magic, schema, name_length, dims, time = _HEADER.unpack_from(data)
    if (magic, schema, name_length, dims) != (_MAGIC, _SCHEMA, len(name), n_dims):
        return None
    content = data[:-_CHECKSUM_BYTES]
    if content[_HEADER.size :][: len(name)] != name or _checksum(key, content) != data[-16:]:
        return None
    return Entry(np.frombuffer(content, "<f4", n_dims, _HEADER.size + len(name)), time)


def key_of(encoder_id: str, user_id: Any) -> str:
    """Return the key of a user's vector; the number 7 and the text "7" are two users.

    Text that is long, or that UTF-8 cannot hold, is hashed: a store that refused one key would be
    taken to be down.
    """
    if not isinstance(user_id, str):
        return f"skue:{encoder_id}:i:{user_id}"
    text = user_id.encode(errors="surrogatepass")
    if len(text) > _LONGEST_ID or text.decode(errors="ignore") != user_id:
        digest = hashlib.blake2b(text, digest_size=_CHECKSUM_BYTES).hexdigest()
        return f"skue:{encoder_id}:h:{digest}"
    return f"skue:{encoder_id}:s:{user_id}"


def _checksum(key: str, data: bytes) -> bytes:
    digest = hashlib.blake2b(key.encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(data)
    return digest.digest()
