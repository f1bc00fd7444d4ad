"""Times: one format per column, and a unit only if all numbers agree."""

import datetime as dt

import numpy as np
import pytest

from skue import Histories, load_interactions

# pandas gives objects or pyarrow strings, by its version.
FORMS = ["file", "object", "pyarrow", "lists"]


def read(form, times, folder, **options):
    """Return the timestamps of one user whose items are numbered, from text."""
    n = len(times)
    log = {"user": [1] * n, "item": list(range(n)), "time": times}
    names = {"user": "user", "item": "item", "time": "time"}
    if form == "file":
        path = folder / "log.csv"
        rows = zip(*log.values(), strict=True)
        path.write_text("\n".join(["user;item;time", *(";".join(map(str, row)) for row in rows)]))
        return load_interactions(path, **options).timestamps
    if form == "lists":
        return Histories.from_lists([log["item"]], timestamps=[times], **options).timestamps
    if form == "object":
        log["time"] = np.array(times, dtype=object)
        return Histories.from_frame(log, **names, **options).timestamps
    library = pytest.importorskip(form)
    make = "table" if form == "pyarrow" else "DataFrame"
    return Histories.from_frame(getattr(library, make)(log), **names, **options).timestamps


def days(times):
    assert times.dtype.kind == "M"
    return times.astype("datetime64[s]").astype(str).tolist()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dayfirst", "month"), [(True, "04"), (False, "03")])
def test_dayfirst_decides_if_the_dates_do_not(tmp_path, form, dayfirst, month):
    times = read(form, ["03/04/2026"], tmp_path, dayfirst=dayfirst)
    day = "03" if dayfirst else "04"
    assert days(times) == [f"2026-{month}-{day}T00:00:00"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("times", "option"),
    [
        (["03/04/2026", "05/06/2026"], "dayfirst=True"),
        (["26-01-31", "26-01-05"], "dayfirst=True"),
        (["02-Jan-26"], "dayfirst=True"),
        (["1700000000", "1700172800000"], "time_unit="),
        (["0", "1700000000"], "time_unit="),
        (["10000000000"], "time_unit="),
    ],
)
def test_ambiguous_times_ask_for_an_option(tmp_path, form, times, option):
    with pytest.raises(ValueError, match=rf"(line|row) .*{option}"):
        read(form, times, tmp_path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("now", "not a date that skue can read"),
        ("2026-02-30", "not a valid date"),
        ("2026-01-01 24:00", "not a valid date"),
        ("2026-01-01 13:00 PM", "not a valid date"),
        ("2026-01-01 10:00+25:00", "not a valid date"),
        ("2026-01-01 10:00 CET", "not a date that skue can read"),
        ("10:30:00", "a time of day without a date"),
        ("٢٠٢٦-٠١-٠١", "not a date that skue can read"),
    ],
)
def test_invalid_dates_are_named(tmp_path, text, what):
    with pytest.raises(ValueError, match=rf"line 2.* holds .*{what}"):
        read("file", [text], tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-1-3", "2026-01-03T00:00:00"),
        (" 2026-01-31 ", "2026-01-31T00:00:00"),
        ("2026-01-31T23:59:58+02:00", "2026-01-31T21:59:58"),
        ("2026-01-31 23:59:58 -0230", "2026-02-01T02:29:58"),
        ("2026-01-31 23:59:58+02", "2026-01-31T21:59:58"),
        ("2026-01-31 23:59:58 UTC", "2026-01-31T23:59:58"),
        ("20260131T235958Z", "2026-01-31T23:59:58"),
        ("2026-01-31T23:59:58.123456789", "2026-01-31T23:59:58"),
        ("20260131", "2026-01-31T00:00:00"),
        ("202601312359", "2026-01-31T23:59:00"),
        ("31.12.2025, 14:05:00", "2025-12-31T14:05:00"),
        ("2. January 2026", "2026-01-02T00:00:00"),
        ("02-JAN-2026 10:00", "2026-01-02T10:00:00"),
        ("September 30 2026 12:00 am", "2026-09-30T00:00:00"),
        ("Fri, 02 Jan 2026 15:04:05 GMT", "2026-01-02T15:04:05"),
        ("12/31/2026 12:30 a.m.", "2026-12-31T00:30:00"),
    ],
)
def test_these_date_formats_are_read(tmp_path, text, expected):
    for form in ("file", "lists"):
        # The second text has another length, so that texts are not compared letter by letter.
        assert days(read(form, [text], tmp_path)) == [expected]
        assert days(read(form, [text, f"{text} "], tmp_path)) == [expected] * 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]
)
def test_numbers_in_one_unit_become_seconds(tmp_path, form, unit, per_second):
    times = [631_152_000 * per_second, 1_433_224_214 * per_second, 4_102_444_799 * per_second]
    expected = [631_152_000, 1_433_224_214, 4_102_444_799]
    assert read(form, times, tmp_path).tolist() == expected
    assert read(form, list(map(str, times)), tmp_path).tolist() == expected
    assert read(form, times, tmp_path, time_unit=unit).tolist() == expected


@pytest.mark.parametrize("form", ["file", "lists"])
@pytest.mark.parametrize("number", [631_151_999, 4_102_444_800])
def test_a_number_outside_the_plausible_years_makes_the_unit_unclear(tmp_path, form, number):
    times = sorted([number, 1_700_000_000])
    with pytest.raises(ValueError, match=rf"{number}.*time_unit='s'"):
        read(form, times, tmp_path)
    assert read(form, times, tmp_path, time_unit="s").tolist() == times


@pytest.mark.parametrize("form", ["file", "lists"])
@pytest.mark.parametrize("times", [[0, 86400, 172800], [-5, 7], [0.5, 2.5]])
def test_numbers_too_small_for_any_unit_are_seconds(tmp_path, form, times):
    assert read(form, times, tmp_path).tolist() == times


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("times", [[20260131, 20260201], ["20260131", "20260201"]])
def test_dates_written_as_digits_are_read(tmp_path, form, times):
    assert days(read(form, times, tmp_path)) == ["2026-01-31T00:00:00", "2026-02-01T00:00:00"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_unit": "h"}, r"'time_unit' parameter must be one of .*Got 'h' instead"),
        ({"dayfirst": "yes"}, r"'dayfirst' parameter must be True, False or None. Got 'yes'"),
    ],
)
def test_invalid_options_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read("lists", ["2026-01-31"], tmp_path, **options)


OBJECTS = [
    ([dt.datetime(2026, 1, 2), "2026-01-03"], "row 1.*'2026-01-03', text, but row 0.*a datetime"),
    ([1_700_000_000, "1700000001"], "row 1.*text, but row 0 .*a number"),
    ([dt.datetime(2026, 1, 2), dt.date(2026, 1, 3)], "row 1.*a date, but row 0"),
    (
        [dt.datetime(2026, 1, 2), dt.datetime(2026, 1, 3, tzinfo=dt.UTC)],
        "row 1.*a datetime with a zone, but row 0",
    ),
    ([dt.timedelta(1)], "row 0.*a timedelta"),
    ([True, False], "row 0.*a bool"),
    ([dt.datetime(2026, 1, 2), None], "row 1.*is empty"),
    ([[1], [2]], r"row 0.*\[1\], a list"),
]  # fmt: skip


@pytest.mark.parametrize(("times", "message"), OBJECTS)
def test_objects_that_are_not_times_of_one_type_are_named(tmp_path, times, message):
    column = np.empty(len(times), dtype=object)
    column[:] = times
    with pytest.raises(ValueError, match=message):
        Histories.from_frame(
            {"u": [1] * len(times), "i": [2] * len(times), "t": column},
            user="u",
            item="i",
            time="t",
        )


def test_datetimes_with_zones_become_utc(tmp_path):
    east = dt.timezone(dt.timedelta(hours=2))
    times = [dt.datetime(2026, 1, 1, 12, tzinfo=east), dt.datetime(2026, 1, 1, 11, tzinfo=dt.UTC)]
    expected = ["2026-01-01T10:00:00", "2026-01-01T11:00:00"]
    for form in ("pandas", "object", "pyarrow", "lists"):  # polars has one zone per column
        assert days(read(form, times, tmp_path)) == expected
