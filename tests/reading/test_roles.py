"""Which columns are read as what: one that fits is read, two are a question."""

import logging

import numpy as np
import pytest

from skue import Histories, load_interactions

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def load(folder, text, **options):
    path = folder / "log.csv"
    path.write_text(text)
    return load_interactions(path, **options)


@pytest.mark.parametrize(
    ("header", "role", "names"),
    [
        ("customer_id,customer_unique_id,product_id", "user", "customer_id customer_unique_id"),
        ("user_id,asin,parent_asin", "item", "asin parent_asin"),
        ("user_id,product_id,sku", "item", "product_id sku"),
    ],
)
def test_two_columns_for_one_role_are_a_question(tmp_path, header, role, names):
    text = f"{header}\n1,2,3\n1,3,4\n"
    with pytest.raises(ValueError, match=f"which column is the {role}\\?") as error:
        load(tmp_path, text)
    for name in names.split():
        assert f"{role}={name!r}" in str(error.value)
        load(tmp_path, text, **{role: name})


@pytest.mark.parametrize(
    "header", ["user_id,item_id,item_name", "user_id,session_id,item_id", "user_name,user_id,sku"]
)
def test_names_and_sessions_do_not_compete_with_ids(tmp_path, header):
    row = [str(10 + at) for at in range(3)]
    histories = load(tmp_path, f"{header}\n{','.join(row)}\n")
    names = header.split(",")
    assert histories.user_ids.tolist() == [int(row[names.index("user_id")])]


@pytest.mark.parametrize(
    ("names", "first", "second"),
    [
        ("date,time_ms", "20220408,1649379600000", "20220408,1649372400000"),
        ("date,timestamp", "2022-04-08,1649379600", "2022-04-08,1649372400"),
        ("timestamp,date", "2022-04-08 10:00:01,2022-04-08", "2022-04-08 09:00:00,2022-04-08"),
    ],
)
def test_the_finer_of_two_columns_of_the_same_times_is_read(tmp_path, names, first, second):
    histories = load(tmp_path, f"user_id,item_id,{names}\n1,b,{first}\n1,a,{second}\n")
    assert histories[0].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "row"),
    [
        ("date,time", "2024-01-02,905"),
        ("Date,Time", "2024-01-02,15:05"),
        ("event_time,time", "2026-01-01 10:00:00,2026-01-01 10:00:05"),
        ("order_date,review_date", "2024-01-02,2024-01-09"),
    ],
)
def test_two_columns_of_other_times_are_a_question(tmp_path, names, row):
    text = f"user_id,item_id,{names}\n1,b,{row}\n"
    with pytest.raises(ValueError, match=r"which column is the time\?.*time=False"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Time", "15:05"), ("timeframe", "900000")],
)
def test_a_time_of_day_beside_a_column_of_days_is_warned_of(tmp_path, name, value):
    text = f"user_id,item_id,eventdate,{name}\n1,b,2016-05-09,{value}\n"
    with pytest.warns(UserWarning, match=f"holds days, and '{name}' may hold the time of day"):
        load(tmp_path, text, time="eventdate")
    load(tmp_path, text.replace("2016-05-09", "2016-05-09 10:00"), time="eventdate")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("date_added", ["2024-03-31", "30.03.2024", "2024-03-29"]),
        ("added", ["31 March of 2024 4:30", "30 March of 2024 2:30"]),
        ("added", ["2024-03-31", "soon", "2024-03-29"]),
    ],
)
def test_times_that_cannot_be_read_are_warned_of_with_a_sample(tmp_path, name, values):
    rows = "".join(f"1,{at},{value}\n" for at, value in enumerate(values))
    message = f"'{name}' seems to hold times, such as '?{values[0]}.*time_format="
    with pytest.warns(UserWarning, match=message):
        load(tmp_path, f"user_id,item_id,{name}\n{rows}")


@pytest.mark.parametrize("name", ["opened_ms", "openedAt", "LAST_SEEN", "added"])
def test_numbers_that_can_be_times_under_a_name_that_suggests_it_are_warned_of(tmp_path, name):
    text = f"user_id,item_id,{name}\n1,b,1700000100000\n1,a,1700000000000\n"
    with pytest.warns(UserWarning, match=f"'{name}' holds dates.*Set time='{name}'"):
        assert load(tmp_path, text)[0].tolist() == ["b", "a"]
    assert load(tmp_path, text, time=name)[0].tolist() == ["a", "b"]
    assert load(tmp_path, text.replace("00000", "")).timestamps is None


def test_the_logger_tells_which_columns_were_read(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="skue"):
        load(tmp_path, "user_id,item_id,date,price\nu1,tea,2026-01-02,3\n")
    (message,) = caplog.messages
    assert "user = 'user_id', item = 'item_id', time = 'date'; not read: 'price'" in message
    assert "the first row is user u1, item tea, time 2026-01-02" in message


@pytest.mark.parametrize("name", ["NA", "-1"])
def test_an_id_that_stands_for_missing_ones_is_warned_of(tmp_path, name):
    rows = "".join(f"{name if at < 3 else at},a\n" for at in range(20))
    with pytest.warns(UserWarning, match=rf"3 of 20 events have the user '?{name}'?, which seems"):
        load(tmp_path, f"user_id,item_id\n{rows}")
    rare = "".join(f"{name if at < 2 else at},a\n" for at in range(20))
    load(tmp_path, f"user_id,item_id\n{rare}")


def parts(folder):
    frames = [
        pandas.DataFrame({"user_id": [1, 2], "item_id": ["a", "b"]}),
        pandas.DataFrame({"user_id": [2, 3], "item_id": ["c", "a"]}),
    ]
    (folder / "parquet").mkdir()
    (folder / "csv").mkdir()
    for at, frame in enumerate(frames):
        frame.to_parquet(folder / "parquet" / f"part-{at}.parquet")
        frame.to_csv(folder / "csv" / f"part-{at}.csv", index=False)
    (folder / "parquet" / "_SUCCESS").write_text("")
    pandas.concat(frames).to_parquet(folder / "hive", partition_cols=["user_id"])
    return folder


@pytest.mark.parametrize("source", ["parquet", "csv", "csv/*.csv", "hive", "list"])
def test_several_files_are_one_log(tmp_path, source):
    folder = parts(tmp_path)
    source = sorted((folder / "csv").iterdir()) if source == "list" else str(folder / source)
    histories = load_interactions(source)
    assert histories.user_ids.tolist() == [1, 2, 3]
    assert [row.tolist() for row in histories] == [["a"], ["b", "c"], ["a"]]


def test_an_error_in_one_of_several_files_names_it(tmp_path):
    folder = parts(tmp_path)
    (folder / "csv" / "part-1.csv").write_text("user_id,item_id\n2,c\n,a\n")
    with pytest.raises(ValueError, match=r"part-1\.csv, line 3: column 'user_id' is empty"):
        load_interactions(folder / "csv")
    (folder / "csv" / "part-1.csv").write_text("user_id,sku\n2,c\n")
    with pytest.raises(ValueError, match=r"All files of a log must have the same columns"):
        load_interactions(folder / "csv")
    other = pandas.DataFrame({"user_id": ["007"], "item_id": ["a"]})
    other.to_parquet(folder / "parquet" / "part-1.parquet")
    with pytest.raises(
        ValueError, match=r"part-1\.parquet: column 'user_id' has another type than"
    ):
        load_interactions(folder / "parquet")


@pytest.mark.parametrize("source", [b"log.csv", pandas.DataFrame({"user_id": [1]}), []])
def test_anything_but_paths_is_refused(source):
    with pytest.raises(ValueError, match=r"path of a file"):
        load_interactions(source)


def test_parquet_is_known_by_its_content(tmp_path):
    name = "log.csv"
    pandas.DataFrame({"user_id": [7], "item_id": [1]}).to_parquet(tmp_path / name)
    assert load_interactions(tmp_path / name).user_ids.tolist() == [7]


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("%d.%m.%y", "02.01.26"),
        ("%Y-%m-%d at %H.%M", "2026-01-02 at 00.00"),
        ("%b %d %Y %I:%M %p", "Jan 2 2026 12:00 am"),
        ("%m/%d/%Y %z", "01/01/2026 -0000".replace("01/01", "01/02")),
    ],
)
def test_time_format_says_how_times_are_written(tmp_path, time_format, text):
    day = [np.datetime64("2026-01-02", "us")]
    log = f"user_id,item_id,date\n1,a,{text}\n"
    assert load(tmp_path, log, time_format=time_format).timestamps.tolist() == day
    frame = {"u": [1], "i": [2], "t": [text]}
    options = {"user": "u", "item": "i", "time": "t", "time_format": time_format}
    assert Histories.from_frame(frame, **options).timestamps.tolist() == day
    listed = Histories.from_lists([[2]], timestamps=[[text]], time_format=time_format)
    assert listed.timestamps.tolist() == day


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_format": "%Y-%m"}, r"line 2: .*'2026-01-02', which is not written as '%Y-%m'"),
        ({"time_format": "%Q"}, r"'time_format' parameter must be .*%Q is unknown"),
        ({"time_format": "%H:%M"}, r"'time_format' parameter must be a format of dates"),
        ({"time_format": "%Y %Y"}, r"one part of a date twice"),
        ({"time_format": "%Y", "dayfirst": True}, r"time_format= says how times are written"),
    ],
)
def test_a_time_format_that_does_not_fit_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "user_id,item_id,date\n1,a,2026-01-02\n", **options)
