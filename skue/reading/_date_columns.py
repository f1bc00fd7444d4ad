"""Which columns of a log hold dates, whatever their names are."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from skue._optional import import_optional
from skue.reading._column_names import sounds_like_time
from skue.reading._columns import is_arrow
from skue.reading._dates import looks_like_dates
from skue.reading._frames import array_of_arrow
from skue.reading._labels import Label
from skue.reading._log_files import ROLES, TextOptions, open_delimited
from skue.reading._number_times import unit_of
from skue.reading._parquet import names_of_parquet, read_parquet
from skue.reading._paths import checked_path
from skue.reading._texts import Texts

_N_LOOKED_AT = 1000


def date_like_columns(
    path: str | os.PathLike[str],
    *,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quotes: bool = True,
) -> list[str]:
    """Return the columns of a log that hold dates or times, judging by its first rows.

    These are columns of dates, in whichever way they are written, and columns of numbers that
    are times in one unit and have a name that speaks of time.

    Parameters
    ----------
    path : str or path
        A file with a header line, or Parquet. There are no columns in text with one user a line.
    encoding, delimiter, quotes : see :func:`skue.load_interactions`

    Returns
    -------
    names : list of str
    """
    path, kind = checked_path(path)
    if kind == ".parquet":
        names = names_of_parquet(path)
        names = [name for name in names if names.count(name) == 1]
        table = read_parquet(path, names, n_rows=_N_LOOKED_AT)
        columns = {name: table[name] for name in names}
    else:
        text = TextOptions(encoding, delimiter, quotes)
        file = open_delimited(path, kind, dict.fromkeys(ROLES), text)
        positions = range(file.n_fields)
        kinds = dict.fromkeys(positions, import_optional("pyarrow", "io").string())
        table = next(file.tables(lambda: kinds), None)
        if table is None:
            return []
        columns = {
            name: table[str(at)].slice(0, _N_LOOKED_AT) for at, name in enumerate(file.names)
        }
    return [name for name, column in columns.items() if _holds_times(name, column)]


def _holds_times(name: Any, column: Any) -> bool:
    try:
        values = array_of_arrow(column.drop_null(), Label(str(name), str))
    except ValueError:
        return False
    if not len(values):
        return False
    if not is_arrow(values):
        if values.dtype.kind in "iuf":
            return sounds_like_time(name) and unit_of(values) is not None
        return values.dtype.kind == "M"
    texts = [text for text in values.to_pylist() if text.strip()]
    if looks_like_dates(Texts.of_strings(texts)):
        return True
    try:
        numbers = np.array(list(map(float, texts)))
    except ValueError:
        return False
    return len(numbers) > 0 and sounds_like_time(name) and unit_of(numbers) is not None
