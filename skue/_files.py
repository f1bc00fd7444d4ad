"""Files that are written in one step, and ``.npz`` files of arrays. Nothing is pickled."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from skue.kernels._arrays import read_only
from skue.reading._ids import pack_text, unpack_text

AnyPath = str | os.PathLike[str]

_ALIGNMENT = 64
# An array of text is stored as two arrays with these suffixes.
_UTF8, _OFFSETS = ".utf8", ".offsets"
# The array that says what a file holds. The number changes with the layout.
_FORMAT, _VERSION = "skue_format", 1
_LOCAL_HEADER = struct.Struct("<26xHH")
# The longest header of an array; those of skue have 128 bytes.
_MAX_HEADER = 4096


@contextmanager
def written_at_once(path: AnyPath) -> Iterator[BinaryIO]:
    """Open a file that replaces ``path`` when the block succeeds.

    The file is written under a temporary name in the same folder, synced and renamed. An existing
    file keeps its permissions; a new one gets those that the user has set. After a failure,
    ``path`` is unchanged.
    """
    path = Path(path)
    # Unlike tempfile, open gives a new file the permissions that the user has set.
    temporary = path.parent / f".{path.name}-{secrets.token_hex(6)}"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: AnyPath) -> None:
    """Make the names of the files in a folder survive a power failure."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_arrays(path: AnyPath, holds: str, arrays: Mapping[str, np.ndarray | None]) -> None:
    """Write named arrays to a file in one step.

    Parameters
    ----------
    path : str or path
        Used as given, without adding a suffix. An existing file is replaced.
    holds : str
        The class whose parts they are; :func:`read_arrays` asks for it.
    arrays : dict of str to ndarray
        Numbers, dates or strings. Strings are written as UTF-8 and offsets. Those that are None
        are left out.
    """
    parts = {_FORMAT: np.array(f"{holds} {_VERSION}")}
    for name, array in arrays.items():
        if array is not None and array.dtype.kind == "O":
            parts[name + _UTF8], parts[name + _OFFSETS] = pack_text(array)
        elif array is not None:
            parts[name] = array
    with written_at_once(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in parts.items():
            _write_member(archive, file, f"{name}.npy", array)


def _write_member(archive: zipfile.ZipFile, file: BinaryIO, name: str, array: np.ndarray) -> None:
    member = zipfile.ZipInfo(name)
    # An extra field of zeros aligns the data. zipfile adds 20 bytes for the size.
    start = file.tell() + 30 + len(name) + 20 + 4
    padding = -start % _ALIGNMENT
    member.extra = struct.pack("<HH", 0xD935, padding) + bytes(padding)
    with archive.open(member, "w", force_zip64=True) as target:
        np.lib.format.write_array(target, np.asarray(array, order="C"), allow_pickle=False)


def read_arrays(
    path: AnyPath,
    holds: str,
    needed: Mapping[str, int],
    optional: Mapping[str, int] | None = None,
    *,
    mmap: bool = False,
) -> dict[str, np.ndarray]:
    """Return the arrays of a file of :func:`write_arrays`, read-only.

    Parameters
    ----------
    path : str or path
    holds : str
        The class that wrote the file.
    needed, optional : dict of str to int
        The number of axes of each array that the file must have, and of those that it may have.
    mmap : bool, default=False
        Map the arrays from disk and read them when they are used. Checksums are not verified then.

    Raises
    ------
    ValueError
        For a file that is damaged, of another kind, or of another version of skue.
    """
    way_out = f"Save it again with {holds}.save of this version of skue."
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                arrays = {
                    member.filename.removesuffix(".npy"): _read_member(file, member, mmap=mmap)
                    for member in archive.infolist()
                }
            found = str(arrays.pop(_FORMAT, "another kind of data"))
            for name in [name for name in arrays if name.endswith(_UTF8)]:
                whole = name.removesuffix(_UTF8)
                arrays[whole] = unpack_text(arrays.pop(name), arrays.pop(whole + _OFFSETS))
        except Exception as error:  # zipfile raises many kinds for a damaged file
            raise ValueError(f"{path} is not a readable .npz file: {error}. {way_out}") from error
    if found != f"{holds} {_VERSION}":
        raise ValueError(f"{path} holds {found}, not {holds} {_VERSION}. {way_out}")
    axes = {**needed, **(optional or {})}
    if not needed.keys() <= arrays.keys() <= axes.keys():
        raise ValueError(f"{path} holds {sorted(arrays)} in place of {sorted(axes)}. {way_out}")
    for name, array in arrays.items():
        if array.ndim != axes[name]:
            raise ValueError(f"{path} is damaged: {name} has the shape {array.shape}. {way_out}")
    return {name: read_only(array) for name, array in arrays.items()}


def _read_member(file: BinaryIO, member: zipfile.ZipInfo, *, mmap: bool) -> np.ndarray:
    """Return an array of an archive. No more memory is asked for than the file has bytes."""
    name = member.filename
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    file.seek(member.header_offset)
    n_name, n_extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start = file.tell() + n_name + n_extra
    if start + member.file_size > file.seek(0, os.SEEK_END):
        raise ValueError(f"{name} is cut short")
    file.seek(start)
    if mmap:
        mapped = np.memmap(file, np.uint8, mode="r", offset=start, shape=(member.file_size,))
        # Slicing np.memmap itself is ten times slower. The plain array keeps the map open.
        held = np.asarray(mapped)
    else:
        content = file.read(member.file_size)
        held = np.frombuffer(content, dtype=np.uint8)
        if zlib.crc32(content) != member.CRC:
            raise ValueError(f"{name} does not match its checksum")
    header = io.BytesIO(held[:_MAX_HEADER].tobytes())
    if np.lib.format.read_magic(header) != (1, 0):
        raise ValueError(f"{name} has another format version than 1.0")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(header)
    if is_fortran or dtype.kind not in "biufMU":
        raise ValueError(f"{name} must hold numbers, dates or text in C order, got {dtype}")
    return held[header.tell() :].view(dtype).reshape(shape)
