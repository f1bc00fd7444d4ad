"""``.npz`` files of arrays that can be memory-mapped. Nothing is pickled."""

from __future__ import annotations

import os
import secrets
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from skue.kernels._arrays import read_only
from skue.reading._ids import pack_text, unpack_text

_ALIGNMENT = 64
# Text is stored as two arrays with these suffixes.
_UTF8, _OFFSETS = ".utf8", ".offsets"
_LOCAL_HEADER = struct.Struct("<26xHH")


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays to a file in one atomic step.

    Parameters
    ----------
    path : str or path
        Used as given, without adding a suffix. An existing file is replaced, and its permissions
        are kept.
    arrays : dict of str to ndarray
        Numbers, dates or strings. Strings are written as UTF-8 and offsets.
    """
    path = Path(path)
    # Unlike tempfile, open gives a new file the permissions that the user has set.
    temporary = path.parent / f".{path.name}-{secrets.token_hex(6)}"
    try:
        with open(temporary, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, array in _plain(arrays).items():
                    _write_member(archive, file, f"{name}.npy", array)
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_member(archive: zipfile.ZipFile, file: BinaryIO, name: str, array: np.ndarray) -> None:
    member = zipfile.ZipInfo(name)
    # An extra field of zeros aligns the data. zipfile adds 20 bytes for the size.
    start = file.tell() + 30 + len(name) + 20 + 4
    padding = -start % _ALIGNMENT
    member.extra = struct.pack("<HH", 0xD935, padding) + bytes(padding)
    with archive.open(member, "w", force_zip64=True) as target:
        np.lib.format.write_array(target, np.asarray(array, order="C"), allow_pickle=False)


def read_arrays(path: str | os.PathLike[str], *, mmap: bool = False) -> dict[str, np.ndarray]:
    """Return the named arrays of a file, read-only.

    Parameters
    ----------
    path : str or path
    mmap : bool, default=False
        Map the arrays from disk and read them when they are used.

    Raises
    ------
    ValueError
        For a file that is damaged or of another kind.
    """
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is of another kind, or cut short")
        if not mmap:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        else:
            with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
                arrays = {
                    member.filename.removesuffix(".npy"): _mapped(path, file, member)
                    for member in archive.infolist()
                }
        return {name: read_only(array) for name, array in _with_text(arrays).items()}
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a readable .npz file: {error}") from error


def check_schema(
    path: str | os.PathLike[str],
    arrays: dict[str, np.ndarray],
    name: str,
    newest: int,
    needed: tuple[str, ...],
    saved_by: str,
) -> None:
    """Raise if a file lacks an array, or if its schema (the array ``name``) is too new."""
    missing = {name, *needed} - set(arrays)
    if missing:
        raise ValueError(f"{path} lacks {sorted(missing)}; save it with {saved_by}.")
    schema = int(arrays[name])
    if schema > newest:
        raise ValueError(
            f"{path} has schema {schema}, this skue reads up to {newest}. Upgrade skue."
        )


def _plain(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Replace each array of strings by two: bytes and offsets."""
    plain = {}
    for name, array in arrays.items():
        if array.dtype.kind == "O":
            plain[name + _UTF8], plain[name + _OFFSETS] = pack_text(array)
        else:
            plain[name] = array
    return plain


def _with_text(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Undo :func:`_plain`."""
    whole = {}
    for name, array in arrays.items():
        if name.endswith(_UTF8):
            name = name.removesuffix(_UTF8)
            array = unpack_text(array, arrays[name + _OFFSETS])
        if not name.endswith(_OFFSETS):
            whole[name] = array
    return whole


def _mapped(path: Any, file: BinaryIO, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed, which cannot be mapped")
    file.seek(member.header_offset)
    n_name, n_extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start = file.seek(member.header_offset + _LOCAL_HEADER.size + n_name + n_extra)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds pickled objects")
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if file.tell() + n_bytes != start + member.file_size:
        raise ValueError(f"{member.filename} is cut short")
    if not n_bytes:
        return np.empty(shape, dtype=dtype)
    order: Any = "F" if fortran else "C"
    array = np.memmap(path, dtype, mode="r", offset=file.tell(), shape=shape, order=order)
    # Slicing np.memmap itself is ten times slower. The plain array keeps the map open.
    return np.asarray(array)
