"""Data is read as it was written, or an error names the line.

``pytest tests/reading/test_round_trip.py --hypothesis-profile=long`` runs this for long.
"""

import csv
import datetime as dt
import io
import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from skue import Histories, load_interactions
from skue.reading import _delimited

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
polars = pytest.importorskip("polars")
parquet = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.filterwarnings("ignore:.*seems to stand for a missing id")
# A quarter of the examples of the profile.
briefly = settings(max_examples=settings.default.max_examples // 4)
NAMES = ["user_id", "item_id", "timestamp", "weight"]
ODD = ["007", "7", "+7", " 7", "7 ", "7.0", "1e3", "tea", " tea", "tea ", "NA", "nan", "None", "-",
       '"', '"tea"', 'te"a', "a,b", "a;b", "a\tb", "ä", "\ufeff", "\u2028", "-0", "0", "null",
       "9223372036854775807", "9223372036854775808", "0x1F", "٣", "1_0", "True", "''"]  # fmt: skip
# Without NUL, which is an error in files, and line breaks, which have tests of their own.
LETTERS = st.characters(codec="utf-8", exclude_characters="\0\r\n")
TEXT = st.one_of(
    st.sampled_from(ODD),
    st.text(st.sampled_from("01279+-. ea\"',;\t|:xE"), min_size=1, max_size=5),
    st.text(LETTERS, min_size=1, max_size=8),
)

INTEGERS = st.one_of(st.integers(0, 30), st.integers(0, 2**63 - 1))
USER_INTEGERS = st.one_of(INTEGERS, st.integers(-(2**63), -1))
MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2150, 1, 1))
SECONDS = st.integers(631_152_000, 4_102_444_799)


@st.composite
def logs(draw):
    """Rows of a user, an item, a time and a weight; ids are text or integers by column."""
    n = draw(st.integers(1, 12))

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    def ids(texts, integers):
        few = draw(
            st.one_of(st.lists(texts, min_size=1, max_size=5), st.lists(integers, min_size=1))
        )
        return column(st.sampled_from(few))

    times = column(draw(st.sampled_from([MOMENTS, SECONDS])))
    weights = column(st.floats(-1e9, 1e9, allow_nan=False))
    return ids(TEXT, USER_INTEGERS), ids(TEXT, INTEGERS), times, weights


def expected(log, as_text):
    """Return the expected rows by a slow loop. With ``as_text``, plain integers become integers."""
    users, items, times, weights = log
    if as_text:
        users, items = as_written(users), as_written(items)
    histories = {}
    for user, item, time, weight in zip(users, items, times, weights, strict=True):
        histories.setdefault(user, []).append((time, item, weight))
    rows = []
    for user in sorted(histories):
        events = sorted(histories[user], key=lambda event: event[0])
        rows.append((user, events))
    return rows


def as_written(ids):
    """Return integers where every id is written as Python writes an integer of 64 bits."""
    texts = [str(value) for value in ids]
    if all(re.fullmatch("0|-?[1-9][0-9]*", text) and abs(int(text)) < 2**63 for text in texts):
        return [int(text) for text in texts]
    return texts


def found(histories):
    events = zip(
        histories.timestamps.tolist(),
        histories.item_ids[histories.codes].tolist(),
        histories.weights.tolist(),
        strict=True,
    )
    events = list(events)
    starts, stops = histories.offsets[:-1].tolist(), histories.offsets[1:].tolist()
    return [
        (user, events[start:stop])
        for user, start, stop in zip(histories.user_ids.tolist(), starts, stops, strict=True)
    ]


def delimited(log, delimiter, quoting, line_end):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
    writer.writerow(NAMES)
    users, items, times, weights = log
    for user, item, time, weight in zip(users, items, times, weights, strict=True):
        when = time.isoformat(" ") if isinstance(time, dt.datetime) else time
        writer.writerow([user, item, when, repr(weight)])
    return text.getvalue()


@briefly
@given(
    logs(),
    st.sampled_from([",", "\t", ";", "|"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([2**24, 64, 7]),
)
@example(
    (["7", "7"], ["3", "-1"], [1700000000, 1700000001], [1.0, 1.0]),
    ",",
    csv.QUOTE_MINIMAL,
    "\n",
    "utf-8",
    2**24,
)
def test_delimited_text_is_read_as_it_was_written(
    tmp_path_factory, log, delimiter, quoting, line_end, encoding, n_bytes
):
    # A line that starts with a byte order mark is an error with a test of its own.
    assume(not any(str(user).startswith("\ufeff") for user in log[0]))
    path = tmp_path_factory.getbasetemp() / ("log.tsv" if delimiter == "\t" else "log.csv")
    path.write_bytes(delimited(log, delimiter, quoting, line_end).encode(encoding))
    items = as_written(log[1])
    if any(isinstance(item, int) and item < 0 for item in items):
        # A column of integers with a negative item id is an error, not padding.
        with pytest.raises(ValueError, match=r"'item_id' must not be negative") as error:
            load_interactions(path, weight="weight", encoding=encoding)
        line = int(re.search(r"at line (\d+)", str(error.value)).group(1))
        assert items[line - 2] < 0
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_delimited, "_PIECE", n_bytes)  # decoded and checked at once
        histories = load_interactions(path, weight="weight", encoding=encoding)
    assert found(histories) == expected(log, as_text=True)


@briefly
@given(logs(), st.sampled_from(["pandas", "polars", "dict", "parquet", "lists"]))
def test_frames_parquet_and_lists_are_read_as_they_were_written(tmp_path_factory, log, kind):
    data = dict(zip(NAMES, log, strict=True))
    options = dict(zip(["user", "item", "time", "weight"], NAMES, strict=True))
    if kind == "parquet":
        path = tmp_path_factory.getbasetemp() / "log.parquet"
        parquet.write_table(pyarrow.table(data), path)
        histories = load_interactions(path, **options)
    elif kind == "lists":
        rows = expected(log, as_text=False)
        histories = Histories.from_lists(
            [[item for _, item, _ in events] for _, events in rows],
            timestamps=[[time for time, _, _ in events] for _, events in rows],
            weights=[[weight for _, _, weight in events] for _, events in rows],
            user_ids=[user for user, _ in rows],
        )
    else:
        make = {"pandas": pandas.DataFrame, "polars": polars.DataFrame, "dict": dict}[kind]
        histories = Histories.from_frame(make(data), **options)
    assert found(histories) == expected(log, as_text=False)


@briefly
@given(
    st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=1, max_size=8),
    st.integers(0, 10**6),
    st.text(st.sampled_from('",\n\r\0 \ufeffaé1'), min_size=1, max_size=3),
)
@example([["\x0c0", "007", "007"]], 1, "\r")
def test_damaged_text_is_read_as_csv_reads_it_or_refused_with_a_line(
    tmp_path_factory, rows, at, odd
):
    header = "user_id,item_id,note\n"
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    body = text.getvalue()
    at %= len(body) + 1
    content = header + body[:at] + odd + body[at:]
    path = tmp_path_factory.getbasetemp() / "odd.csv"
    path.write_bytes(content.encode())
    try:
        histories = load_interactions(path)
    except ValueError as error:
        line = re.search(r"line (\d+)", str(error))
        assert line or "only a header line" in str(error)
        assert not line or 1 <= int(line.group(1)) <= len(re.findall("\r\n|\n|\r", content)) + 1
        return
    assert histories.user_ids.tolist() == sorted(set(as_written(strict_column(content, 0))))
    assert histories.item_ids.tolist() == sorted(set(as_written(strict_column(content, 1))))


def strict_column(content, column):
    """Return a column as the csv module reads it; every row must have three fields."""
    rows = [row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row]
    # Lines of ASCII white space are ignored.
    rows = [row for row in rows if len(row) == 3 or row[0].encode().strip()]
    assert all(len(row) == 3 for row in rows)
    return [row[column] for row in rows[1:]]


DATE_FORMATS = [
    ("%Y-%m-%d %H:%M:%S", None),
    ("%Y-%m-%dT%H:%M:%SZ", None),
    ("%Y/%m/%d %H:%M", None),
    ("%d.%m.%Y %H:%M", None),
    ("%d/%m/%Y %H:%M:%S", True),
    ("%m/%d/%Y %H:%M:%S", False),
    ("%m/%d/%Y %I:%M:%S %p", False),
    ("%d-%m-%y", True),
    ("%d %b %Y %H:%M", None),
    ("%B %d, %Y", None),
    ("%a, %d %b %Y %H:%M:%S GMT", None),
    ("%Y%m%d", None),
    ("%Y%m%d%H%M%S", None),
]


@briefly
@given(
    st.lists(
        st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2068, 12, 31)), min_size=1, max_size=9
    ),
    st.sampled_from(DATE_FORMATS),
    st.sampled_from(["csv", "pandas", "polars", "pyarrow", "lists"]),
)
def test_dates_are_read_as_the_standard_library_reads_them(
    tmp_path_factory, moments, written, kind
):
    form, dayfirst = written
    texts = [moment.strftime(form) for moment in moments]
    truth = sorted(dt.datetime.strptime(text, form) for text in texts)
    n = len(texts)
    data = {"user_id": [1] * n, "item_id": [2] * n, "time": texts}
    if kind == "csv":
        path = tmp_path_factory.getbasetemp() / "dates.csv"
        lines = ["user_id;item_id;time", *(f"1;2;{text}" for text in texts)]
        path.write_text("\n".join(lines))
        histories = load_interactions(path, dayfirst=dayfirst)
    elif kind == "lists":
        histories = Histories.from_lists([[2] * n], timestamps=[texts], dayfirst=dayfirst)
    else:
        make = {"pandas": pandas.DataFrame, "polars": polars.DataFrame, "pyarrow": pyarrow.table}
        histories = Histories.from_frame(
            make[kind](data), user="user_id", item="item_id", time="time", dayfirst=dayfirst
        )
    assert histories.timestamps.tolist() == truth


WAYS = [
    "2026-01-02", "2026-01-02 10:00:00", "2026-01-02T10:00:00", "2026-01-02T10:00:00Z",
    "2026/01/02", "02.01.2026", "02/01/2026", "2 Jan 2026", "20260102", "1767312000",
    "1767312000000", "now", "10:00", "",
]  # fmt: skip


@briefly
@given(
    st.lists(st.sampled_from(WAYS), min_size=2, max_size=6).filter(lambda ways: len(set(ways)) > 1),
)
def test_mixed_formats_of_times_are_refused_with_the_same_row_in_every_form(
    tmp_path_factory, texts
):
    n = len(texts)
    data = {"user_id": [1] * n, "item_id": [2] * n, "time": texts}
    names = {"user": "user_id", "item": "item_id", "time": "time"}
    path = tmp_path_factory.getbasetemp() / "ways.csv"
    path.write_text("\n".join(["user_id,item_id,time", *(f"1,2,{text}" for text in texts)]))
    messages = []
    for read in (
        lambda: load_interactions(path),
        lambda: Histories.from_frame(pandas.DataFrame(data), **names),
        lambda: Histories.from_frame(pyarrow.table(data), **names),
        lambda: Histories.from_lists([[2] * n], timestamps=[texts]),
    ):
        with pytest.raises(
            ValueError, match=r"(line|row) \d+.*(column 'time'|timestamp)"
        ) as caught:
            read()
        messages.append(str(caught.value))
    patterns = [r"line (\d+)", *2 * [r"row (\d+)"], r"event (\d+)"]
    rows = [
        list(map(int, re.findall(pattern, message)))
        for message, pattern in zip(messages, patterns, strict=True)
    ]
    rows[0] = [line - 2 for line in rows[0]]
    assert all(row == rows[0] for row in rows)
