"""Which columns of a log hold dates, found from their first rows."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from skue._estimator import import_optional
from skue.reading._column_names import sounds_like_time
from skue.reading._columns import is_arrow
from skue.reading._dates import looks_like_dates
from skue.reading._frames import array_of_arrow
from skue.reading._labels import Label
from skue.reading._log_files import (
    TextOptions,
    checked_path,
    names_of_parquet,
    open_delimited,
    read_parquet,
)
from skue.reading._numeric_times import unit_of
from skue.reading._text_columns import TextColumn

_N_FIRST_ROWS = 1000


def date_like_columns(
    path: str | os.PathLike[str],
    *,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quotes: bool = True,
) -> list[str]:
    """Return the columns of a log whose first rows hold dates or times.

    A column of numbers counts if they are times in one unit and its name suggests a time.

    Parameters
    ----------
    path : str or path
        A table with a header line, or Parquet.
    encoding, delimiter, quotes : see :func:`skue.load_interactions`

    Returns
    -------
    names : list of str
    """
    path, kind = checked_path(path)
    if kind == ".parquet":
        names = names_of_parquet(path)
        names = [name for name in names if names.count(name) == 1]
        table = read_parquet(path, names, n_rows=_N_FIRST_ROWS)
        columns = {name: table[name] for name in names}
    else:
        text = TextOptions(encoding, delimiter, quotes)
        file = open_delimited(path, kind, {"user": None, "item": None}, text)
        positions = range(file.n_fields)
        kinds = dict.fromkeys(positions, import_optional("pyarrow", "io").string())
        table = next(file.tables(lambda: kinds), None)
        if table is None:
            return []
        columns = {
            name: table[str(at)].slice(0, _N_FIRST_ROWS) for at, name in enumerate(file.names)
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
    if looks_like_dates(TextColumn.of_strings(texts)):
        return True
    try:
        numbers = np.array(list(map(float, texts)))
    except ValueError:
        return False
    return len(numbers) > 0 and sounds_like_time(name) and unit_of(numbers) is not None
