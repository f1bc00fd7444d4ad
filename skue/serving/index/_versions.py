"""Which version of an index is current: chosen by export, rollback and prune."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import warnings
from collections.abc import Callable
from numbers import Integral
from pathlib import Path

from skue.serving.index._arrays import read_small, sync_folder, write_synced
from skue.serving.index._folder import (
    PARTIAL,
    UNUSED,
    VERSION_NAME,
    one_writer,
    remove_abandoned,
)
from skue.serving.index._manifest import ARRAYS, MANIFEST, read_manifest, read_version


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
