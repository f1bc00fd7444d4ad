"""Files of an index: written and synced, read and verified. Nothing is pickled."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

_STEP = 2**24
_CACHE_LINE = 64


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading; raise at once for anything but a regular file.

    Opening a FIFO would wait for a writer, and a link could lead anywhere.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise ValueError(f"{path} is not a regular file ({error.strerror}).") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError(f"{path} is not a regular file.")
    return os.fdopen(handle, "rb")


def read_small(path: Path, limit: int = 2**20) -> bytes:
    """Return the content of a file that must be small."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path} is larger than {limit} bytes.")
    return data


def write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Write an array; return the length and the checksum of the bytes passed to the file."""
    with open(path, "wb") as file:
        writer = _HashingWriter(file)
        array = np.ascontiguousarray(array)
        np.lib.format.write_array(writer, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": writer.n_bytes, "blake2b": writer.digest.hexdigest()}


def read_array(path: Path, expected: dict[str, Any], *, mmap: bool = False) -> np.ndarray:
    """Return a read-only array after verifying the length and the checksum of its file.

    Parameters
    ----------
    path : Path
    expected : dict
        What :func:`write_array` returned.
    mmap : bool, default=False
        Map the file. Otherwise it is read into memory, and the bytes in memory are verified.

    Raises
    ------
    ValueError
        If the file was altered or truncated, is not a regular file or does not hold an array.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size != expected["bytes"]:
            raise ValueError(f"{path} has {size} bytes, but its manifest says {expected['bytes']}.")
        held, digest = (None, _digest_of(file)) if mmap else _read_and_hash(file, size)
        if digest != expected["blake2b"]:
            raise ValueError(
                f"{path} was altered or is damaged: its checksum is {digest}, but its manifest "
                f"says {expected['blake2b']}."
            )
        try:
            return _mapped(file, size) if held is None else _parsed(held)
        except Exception as error:
            raise ValueError(f"{path} does not hold a readable array: {error}.") from error


def new_digest() -> Any:
    return hashlib.blake2b(digest_size=16)


def _digest_of(file: io.BufferedReader) -> str:
    return hashlib.file_digest(file, new_digest).hexdigest()


def _read_and_hash(file: io.BufferedReader, size: int) -> tuple[np.ndarray, str]:
    """Read a file in steps; each is hashed while it is in the processor's cache."""
    room = np.empty(size + _CACHE_LINE, dtype=np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    held, digest = room[start : start + size], new_digest()
    for at in range(0, size, _STEP):
        part = held[at : at + _STEP]
        # If the file was truncated meanwhile, the rest is zeros, and the checksum differs.
        part[file.readinto(part.data) :] = 0
        digest.update(part)
    room.flags.writeable = False
    return room[start : start + size], digest.hexdigest()


def _parsed(held: np.ndarray) -> np.ndarray:
    """Return the array that the bytes of a file hold, without a copy."""
    # 64 KiB are more than any header.
    header = io.BytesIO(held[:65536].tobytes())
    dtype, shape = _header(header, len(held))
    return held[header.tell() :].view(dtype).reshape(shape)


def _mapped(file: io.BufferedReader, size: int) -> np.ndarray:
    file.seek(0)
    dtype, shape = _header(file, size)
    if file.tell() == size:
        return np.empty(shape, dtype=dtype)
    # The plain array keeps the map alive; slices of np.memmap itself take ten times as long.
    return np.asarray(np.memmap(file, dtype, mode="r", offset=file.tell(), shape=shape))


def _header(file: Any, size: int) -> tuple[np.dtype, tuple[int, ...]]:
    """Read the header of an array, and raise if it does not match a file of this size."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"its format version is {version}, not (1, 0)")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    if is_fortran and len(shape) > 1:
        raise ValueError("it is stored in Fortran order")
    n_bytes = dtype.itemsize
    for length in shape:
        n_bytes *= length
    if n_bytes != size - file.tell() or min(shape, default=0) < 0:
        raise ValueError(f"{size - file.tell()} bytes do not fit a {dtype} array of shape {shape}")
    return dtype, shape


class _HashingWriter:
    """Write bytes to a file and hash them."""

    def __init__(self, file: Any) -> None:
        self.file, self.digest, self.n_bytes = file, new_digest(), 0

    def write(self, data: Any) -> None:
        self.digest.update(data)
        self.n_bytes += len(data)
        self.file.write(data)
