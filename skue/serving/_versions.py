"""Which version of an index is current: chosen by export, rollback and prune."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import re
import stat
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from numbers import Integral
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from skue.items._item_embeddings import ItemEmbeddings, check_space
from skue.reading._ids import is_text, pack_text, unpack_text

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


SCHEMA = 2
MANIFEST = "manifest.json"
ARRAYS = ("vectors.npy", "ids.npy", "ids_utf8.npy", "ids_offsets.npy")
# Text ids are stored as UTF-8 with offsets. Schema 1 stored them in ids.npy with a fixed width.
_FILES = ({"vectors.npy", "ids.npy"}, {"vectors.npy", "ids_utf8.npy", "ids_offsets.npy"})
# The vectors were written with lengths within 1e-6 of 1.
_UNIT_TOLERANCE = 2e-6
_WAY_OUT = "Call rollback for an older version, or export the index again."


def arrays_of(items: ItemEmbeddings) -> dict[str, np.ndarray]:
    """Return the arrays to write for these items, by file name."""
    if not is_text(items.ids):
        return {"vectors.npy": items.vectors, "ids.npy": items.ids}
    utf8, offsets = pack_text(items.ids)
    return {"vectors.npy": items.vectors, "ids_utf8.npy": utf8, "ids_offsets.npy": offsets}


def read_version(
    folder: Path, version: str, *, mmap: bool = False
) -> tuple[ItemEmbeddings, dict[str, Any]]:
    """Return the items and the manifest of a version after verifying that they agree."""
    manifest = read_manifest(folder, version)
    path = folder / "versions" / version
    try:
        _check_facts(manifest)
        arrays = {
            name: read_array(path / name, expected, mmap=mmap and name == "vectors.npy")
            for name, expected in manifest["files"].items()
        }
        items = _items_of(arrays, manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error} {_WAY_OUT}") from error
    return items, manifest


def read_manifest(folder: Path, version: str) -> dict[str, Any]:
    """Return the manifest of a version, or raise an error that says what is wrong with it."""
    path = folder / "versions" / version / MANIFEST
    if path.parent.is_symlink():
        raise ValueError(f"{path.parent} is a link, not a folder. {_WAY_OUT}")
    try:
        manifest = json.loads(read_small(path))
        schema, found = manifest["schema"], manifest.get("checksum")
        expected = manifest_checksum(manifest)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error!r}. {_WAY_OUT}") from error
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise ValueError(
            f"{path} has schema {schema!r}, but this version of skue reads schemas 1 to {SCHEMA}. "
            "Upgrade skue, or call rollback for a version that it can read."
        )
    if found != expected:
        raise ValueError(
            f"{path} was altered after it was written: it records the checksum {found}, but its "
            f"content has {expected}. {_WAY_OUT}"
        )
    return manifest


def manifest_checksum(manifest: dict[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "checksum"}
    digest = new_digest()
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()


def _check_facts(manifest: dict[str, Any]) -> None:
    """Raise if the fields of a manifest are not those that an export writes."""
    for name in ("space_id", "catalog_id"):
        if not isinstance(manifest.get(name), str):
            raise ValueError(f"{name} in its manifest is {manifest.get(name)!r}, not a string.")
    if not isinstance(manifest.get("encoder_id"), (str, NoneType)):
        raise ValueError(f"encoder_id in its manifest is {manifest['encoder_id']!r}.")
    # Folders of 0.1 have no alignment.
    check_space(None, manifest.get("aligned_with"), manifest.get("agreement"))
    files = manifest.get("files")
    if not isinstance(files, dict) or set(files) not in _FILES:
        raise ValueError("its manifest does not list the files of an index.")


def _items_of(arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> ItemEmbeddings:
    vectors = arrays["vectors.npy"]
    shape = manifest.get("n_items"), manifest.get("n_dims")
    if vectors.dtype != np.float32 or vectors.shape != shape:
        raise ValueError(
            f"vectors.npy holds {vectors.dtype} of shape {vectors.shape}, but its manifest says "
            f"float32 of shape {shape}."
        )
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    odd = np.flatnonzero(~(np.abs(norms - 1) <= _UNIT_TOLERANCE))
    if len(odd):
        raise ValueError(f"row {odd[0]} of vectors.npy has length {norms[odd[0]]:.7g}, not 1.")
    if "ids.npy" in arrays:
        ids = arrays["ids.npy"]
        if ids.dtype.kind not in ("iU" if manifest["schema"] == 1 else "i"):
            raise ValueError(f"ids.npy holds {ids.dtype}, not ids.")
    else:
        ids = unpack_text(arrays["ids_utf8.npy"], arrays["ids_offsets.npy"])
    items = ItemEmbeddings(
        vectors,
        ids,
        space_id=manifest["space_id"],
        aligned_with=manifest.get("aligned_with"),
        agreement=manifest.get("agreement"),
    )
    # Schema 1 used another hash of the ids.
    if manifest["schema"] > 1 and items.catalog_id != manifest["catalog_id"]:
        raise ValueError(
            f"its vectors and ids hash to {items.catalog_id!r}, but its manifest says "
            f"{manifest['catalog_id']!r}."
        )
    return items


# A file that marks a version as never used. It is removed once CURRENT names the version.
UNUSED = ".unused"
VERSION_NAME = re.compile(r"\d{8}-[0-9a-f]{8}")
PARTIAL = ".partial-"
_PARTIAL_NAME = re.compile(rf"{re.escape(PARTIAL)}([0-9a-f]{{32}}|{VERSION_NAME.pattern})")
_TEMPORARY_NAME = re.compile(r"\.CURRENT-[a-z0-9_]{8}")
# How long to wait for another process that changes the folder, which takes milliseconds.
_PATIENCE_SECONDS = 60.0
# Longer than any export takes. Used where folders cannot be locked.
_ABANDONED_SECONDS = 3600.0


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder. If a process is killed, its lock is released."""
    if os.name != "posix":
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(folder / ".lock", flags, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{folder / '.lock'} is not a regular file.")
        until = time.monotonic() + _PATIENCE_SECONDS
        while not _lock(handle):
            if time.monotonic() > until:
                raise TimeoutError(
                    f"Another process has held {folder / '.lock'} for {_PATIENCE_SECONDS:.0f} "
                    "seconds. End that process, then try again."
                )
            time.sleep(0.005)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Try to lock an open file or folder; return whether it was free."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _locked_folder(path: Path) -> Iterator[bool]:
    """Hold the lock of a folder if it is free; yield whether it was.

    The process that writes a partial version holds the lock of its folder.
    """
    if os.name != "posix":
        yield time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            is_free = _lock(handle)
        except OSError:  # some network file systems can only lock files
            is_free = time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        yield is_free
    finally:
        os.close(handle)


@contextlib.contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Create and lock a folder to write a version in. It is removed unless it was renamed."""
    partial = folder / "versions" / f"{PARTIAL}{uuid.uuid4().hex}"
    with contextlib.ExitStack() as stack:
        with one_writer(folder):
            partial.mkdir()
            stack.callback(_remove_own_files, partial)
            stack.enter_context(_locked_folder(partial))
        yield partial


def remove_abandoned(folder: Path) -> None:
    """Remove the leftovers of killed exports. The caller holds the lock of the folder."""
    for path in (folder / "versions").iterdir():
        if not _PARTIAL_NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        # A folder that cannot be removed, such as another user's, is not an error.
        with contextlib.suppress(OSError), _locked_folder(path) as is_abandoned:
            if is_abandoned:
                _remove_own_files(path)
    for path in folder.iterdir():
        # Only the holder of the lock writes these files, so no other process uses them.
        if _TEMPORARY_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.unlink()


def _remove_own_files(path: Path) -> None:
    """Remove the files that an export writes, and the folder if it is then empty."""
    for name in (MANIFEST, UNUSED, *ARRAYS):
        with contextlib.suppress(OSError):
            (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rmdir()


def list_versions(folder: Path) -> list[str]:
    """Return the names of all complete versions, oldest first."""
    versions = folder / "versions"
    if not versions.is_dir():
        return []
    with os.scandir(versions) as entries:
        found = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    return sorted(name for name in found if VERSION_NAME.fullmatch(name))


def read_current(folder: Path) -> str:
    """Return the name of the current version."""
    versions = list_versions(folder)
    way_out = f"Call rollback(folder, version) with one of {versions}" if versions else ""
    try:
        name = read_small(folder / "CURRENT").decode(errors="replace").strip()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{folder} is not an index: it has no file CURRENT. "
            f"{way_out or 'Write one with export_index'}."
        ) from None
    if not VERSION_NAME.fullmatch(name):
        raise ValueError(
            f"{folder / 'CURRENT'} holds {name[:60]!r}, which is not the name of a version. "
            f"{way_out or 'Export the index again'}."
        )
    return name


def write_current(folder: Path, version: str) -> None:
    """Make a version the current one, in one step."""
    # The previous version was current, even if its export was killed before it unmarked it.
    previous = current_or_none(folder)
    if previous is not None:
        _mark_used(folder, previous)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".CURRENT-")
    os.close(handle)
    try:
        write_synced(Path(temporary), f"{version}\n".encode())
        os.chmod(temporary, 0o644)
        os.replace(temporary, folder / "CURRENT")
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(folder)
    _mark_used(folder, version)


def current_or_none(folder: Path) -> str | None:
    try:
        return read_current(folder)
    except (OSError, ValueError):
        return None


def _mark_used(folder: Path, version: str) -> None:
    (folder / "versions" / version / UNUSED).unlink(missing_ok=True)


def _used_versions(folder: Path) -> list[str]:
    """Return the versions that have ever been current, oldest first."""
    current = read_current(folder)
    return [
        name
        for name in list_versions(folder)
        if name == current or not (folder / "versions" / name / UNUSED).exists()
    ]


def rollback(folder: str | os.PathLike[str], version: str | None = None) -> str:
    """Make an older version of an index the current one after verifying it.

    Parameters
    ----------
    folder : str or path
    version : str, default=None
        By default the newest intact version before the current one. A version that was never
        current, because its export was interrupted, must be given by name.

    Returns
    -------
    version : str
        The new current version. Readers see it when they open the index again.

    Warns
    -----
    UserWarning
        If a newer version is damaged and was skipped.

    Examples
    --------
    >>> import tempfile
    >>> from skue import ItemEmbeddings, export_index, rollback
    >>> folder = tempfile.mkdtemp()
    >>> first = export_index(ItemEmbeddings([[1, 0]]), folder)
    >>> second = export_index(ItemEmbeddings([[0, 1]]), folder)
    >>> rollback(folder) == first
    True
    """
    folder = Path(folder)
    _candidates(folder, version)  # raises before a lock file is created
    with one_writer(folder):
        chosen, problems = _first_intact(folder, _candidates(folder, version))
        write_current(folder, chosen)
    for problem in problems:
        warnings.warn(f"{problem} Rolled back to {chosen!r} instead.", UserWarning, stacklevel=2)
    return chosen


def _candidates(folder: Path, version: str | None) -> list[str]:
    """Return the versions to roll back to, in order of preference."""
    if version is None:
        current = read_current(folder)
        older = [name for name in reversed(_used_versions(folder)) if name < current]
        if not older:
            raise ValueError(f"{folder} has no version before {current!r} to roll back to.")
        return older
    if version not in list_versions(folder):
        raise ValueError(f"{folder} has no version {version!r}; it has {list_versions(folder)}.")
    return [version]


def _first_intact(folder: Path, candidates: list[str]) -> tuple[str, list[Exception]]:
    """Return the first intact version, and the errors of the versions before it."""
    problems: list[Exception] = []
    for version in candidates:
        try:
            read_version(folder, version)
        except (OSError, ValueError) as problem:
            problems.append(problem)
        else:
            return version, problems
    raise problems[0]


def prune(folder: str | os.PathLike[str], *, keep: int = 2) -> list[str]:
    """Remove old versions of an index.

    The current version is kept, and so are the newest older versions that are intact:
    :func:`rollback` would choose these. If there are too few of them, versions that were rolled
    back from are kept as well. A version is never removed if it holds a file that no export
    writes, or if its manifest cannot be read. On POSIX systems, a process that has a removed
    version open can go on using it.

    Parameters
    ----------
    folder : str or path
    keep : int, default=2
        How many versions to keep. The default keeps the current one and one to roll back to.

    Returns
    -------
    removed : list of str

    Examples
    --------
    >>> import tempfile
    >>> from skue import ItemEmbeddings, export_index, prune
    >>> folder = tempfile.mkdtemp()
    >>> versions = [export_index(ItemEmbeddings([[1, 0]]), folder) for _ in range(3)]
    >>> prune(folder, keep=2) == versions[:1]
    True
    """
    if not isinstance(keep, Integral) or isinstance(keep, bool) or keep < 1:
        raise ValueError(f"keep must be an integer of at least 1, got {keep!r}.")
    folder = Path(folder)
    read_current(folder)  # raises before a lock file is created
    versions = folder / "versions"

    @functools.cache
    def is_intact(version: str) -> bool:
        try:
            read_version(folder, version)
        except (OSError, ValueError):
            return False
        return True

    # Verify the versions before taking the lock, so that others wait less: results are cached.
    with contextlib.suppress(OSError, ValueError):  # others may change the folder meanwhile
        _versions_to_keep(folder, keep, is_intact)
    with one_writer(folder):
        kept = _versions_to_keep(folder, keep, is_intact)
        removed = [n for n in list_versions(folder) if n not in kept and _is_own(folder, n)]
        for name in removed:
            # Renamed first, so that a reader finds the version complete or not at all.
            os.rename(versions / name, versions / f"{PARTIAL}{name}")
        remove_abandoned(folder)
    return removed


def _versions_to_keep(folder: Path, keep: int, is_intact: Callable[[str], bool]) -> set[str]:
    current, names = read_current(folder), list_versions(folder)
    if current not in names:
        raise ValueError(
            f"{folder} is damaged: CURRENT names version {current!r}, which is not among {names}; "
            "nothing is removed. Call rollback, or export the index again."
        )
    used = _used_versions(folder)
    older = [name for name in reversed(used) if name < current]
    # Used only if there are too few older ones: the versions that were rolled back from.
    newer = [name for name in reversed(used) if name > current]
    kept = {current}
    for name in older + newer:
        if len(kept) < keep and is_intact(name):
            kept.add(name)
    return kept


def _is_own(folder: Path, version: str) -> bool:
    """Return whether every file in the folder of a version was written by an export."""
    path = folder / "versions" / version
    if not set(os.listdir(path)) <= {MANIFEST, UNUSED, *ARRAYS}:
        return False
    try:
        read_manifest(folder, version)
    except (OSError, ValueError):
        return False
    return True
