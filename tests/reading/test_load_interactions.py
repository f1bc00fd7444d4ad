"""Logs from real files, and what is wrong with the others."""

import gzip

import numpy as np
import pytest

from skue import load_interactions

pandas = pytest.importorskip("pandas")

CSV = "CustomerID,StockCode,InvoiceDate,qty\n2,b,2026-01-02,5\n1,a,2026-01-01,1\n2,c,2026-01-01,2\n"


def write(folder, name, text):
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_usual_column_names_are_found(tmp_path, name):
    histories = load_interactions(write(tmp_path, name, CSV))
    assert histories.user_ids.tolist() == [1, 2]
    assert [row.tolist() for row in histories] == [["a"], ["c", "b"]]
    assert histories.weights is None


def test_columns_are_parted_by_tabs_in_tsv(tmp_path):
    histories = load_interactions(write(tmp_path, "log.tsv", CSV.replace(",", "\t")))
    assert [row.tolist() for row in histories] == [["a"], ["c", "b"]]


def test_parquet_is_read(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"user": ["x", "x"], "item": [1, 2], "time": [2.0, 1.0]})
    frame.to_parquet(tmp_path / "log.parquet")
    assert load_interactions(tmp_path / "log.parquet")[0].tolist() == [2, 1]


@pytest.mark.parametrize("name", ["log.txt", "log.txt.gz"])
def test_text_has_one_user_a_line(tmp_path, name):
    histories = load_interactions(write(tmp_path, name, "u1 5 6 7\nu2 6\n\n"))
    assert histories.user_ids.tolist() == ["u1", "u2"]
    assert [row.tolist() for row in histories] == [[5, 6, 7], [6]]


def test_columns_can_be_named(tmp_path):
    path = write(tmp_path, "log.csv", "who,what,n\n1,7,2.5\n")
    histories = load_interactions(path, user="who", item="what", weight="n")
    assert histories.weights.tolist() == [2.5]
    assert histories.item_ids.dtype == np.int64


def test_leading_zeros_keep_ids_as_text(tmp_path):
    path = write(tmp_path, "log.csv", "user,item\n1,007\n1,7\n")
    assert load_interactions(path)[0].tolist() == ["007", "7"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", "", "is empty; a header line"),
        ("log.csv", "user,item\n", "has only a header line"),
        ("log.csv", "a,b\n1,2\n", r"no column that looks like the user; it has \['a', 'b'\]"),
        ("log.csv", "user,item\n1,\n", "line 2: column 'item' is empty"),
        ("log.csv", "user,item,time\n1,2,2026-01-01\n1,3,soon\n", "line 3: column 'time' holds 's"),
        ("log.txt", "\n", "is empty; one user per line"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        load_interactions(write(tmp_path, name, text))


def test_a_bad_date_far_down_is_named_by_its_line(tmp_path):
    rows = [f"{i},{i % 7},2026-01-01T00:00:00" for i in range(2000)]
    rows[1232] = "5,5,31 Foo"
    path = write(tmp_path, "log.csv", "user,item,time\n" + "\n".join(rows))
    with pytest.raises(ValueError, match=r"line 1234: column 'time' holds '31 Foo'"):
        load_interactions(path)


def test_a_weight_that_is_no_number_is_named_by_its_line(tmp_path):
    path = write(tmp_path, "log.csv", "user,item,n\n1,2,3\n1,3,many\n")
    with pytest.raises(ValueError, match=r"line 3: column 'n' holds 'many'"):
        load_interactions(path, weight="n")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.csv"):
        load_interactions(tmp_path / "none.csv")


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes("user,item\n1,café\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 2: .* is not utf-8.*encoding='cp1252'"):
        load_interactions(path)


@pytest.mark.parametrize("name", ["log.csv.gz", "log.txt.gz"])
def test_a_gzip_cut_short_is_refused(tmp_path, name):
    text = "user,item\n" + "".join(f"{i},{i * 7919 % 1000}\n" for i in range(5000))
    path = write(tmp_path, name, text)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ValueError, match=r"damaged or cut short"):
        load_interactions(path)


def test_a_broken_parquet_file_is_refused(tmp_path):
    path = write(tmp_path, "log.parquet", "no parquet")
    with pytest.raises(ValueError, match=r"not a readable Parquet file"):
        load_interactions(path)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_read_from_the_header(tmp_path, separator):
    path = tmp_path / "log.csv"
    lines = ["user id", "item id"], ["1", "1,5 l"], ["1", "cup"]
    path.write_text("\n".join(separator.join(line) for line in lines) + "\n")
    assert load_interactions(path)[0].tolist() == ["1,5 l", "cup"]


def test_a_comma_in_the_header_is_the_separator(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,a;b\n1,tea,x;y\n")
    assert load_interactions(path)[0].tolist() == ["tea"]


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["01.03.2026 10:00", "02.03.2026 9:30"], ["2026-03-01T10:00", "2026-03-02T09:30"]),
        (["1/3/2026", "13/3/2026"], ["2026-03-01", "2026-03-13"]),
        (["3/1/2026", "3/13/2026"], ["2026-03-01", "2026-03-13"]),
        (["1-3-2026", "13-3-2026"], ["2026-03-01", "2026-03-13"]),
    ],
)
def test_the_day_is_where_the_other_dates_say(tmp_path, dates, expected):
    path = tmp_path / "log.csv"
    path.write_text("user,item,date\n" + "".join(f"1,tea,{date}\n" for date in dates))
    times = load_interactions(path).timestamps
    assert times.tolist() == np.array(expected, dtype="datetime64[us]").tolist()


def test_dates_whose_day_and_month_cannot_be_told_apart_raise(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,date\n1,tea,03/04/2026\n1,cup,05/04/2026\n")
    with pytest.raises(ValueError, match="line 2: column 'date' holds '03/04/2026': day and month"):
        load_interactions(path)


def test_dates_that_contradict_one_another_raise(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,date\n1,tea,13/04/2026\n1,cup,04/13/2026\n")
    with pytest.raises(ValueError, match=r"line 3: .*'04/13/2026', but line 2 holds '13/04/2026'"):
        load_interactions(path)


def test_a_wrong_date_among_american_dates_is_named_by_its_line(tmp_path):
    dates = [f"{1 + i % 12}/{1 + i % 28}/2026 8:26" for i in range(50)]
    dates[30] = "2/30/2026 8:26"
    path = write(tmp_path, "log.csv", "user,item,date\n" + "".join(f"1,a,{d}\n" for d in dates))
    with pytest.raises(ValueError, match=r"line 32: column 'date' holds '2/30/2026 8:26', which"):
        load_interactions(path)


@pytest.mark.parametrize("text", ["May", "monday 10:00", "5-5", "now", "today"])
def test_text_without_a_year_is_no_date(tmp_path, text):
    path = write(tmp_path, "log.csv", f"user,item,time\n1,tea,{text}\n")
    with pytest.raises(
        ValueError, match=f"line 2: column 'time' holds '{text}', which is not a date"
    ):
        load_interactions(path)


def test_a_two_digit_year_does_not_hide_that_day_and_month_cannot_be_told_apart(tmp_path):
    path = write(tmp_path, "log.csv", "user,item,date\n1,tea,03/04/26\n")
    with pytest.raises(
        ValueError, match=r"day, month and year cannot be told apart.*dayfirst=True"
    ):
        load_interactions(path)


@pytest.mark.parametrize("odd", ["2026-01-01", "inf", "nan"])
def test_what_is_no_number_among_seconds_is_named_by_its_line(tmp_path, odd):
    path = write(tmp_path, "log.csv", f"user,item,time\n1,tea,5\n1,cup,{odd}\n1,pot,7\n")
    with pytest.raises(ValueError, match=f"line 3: column 'time' holds '{odd}'"):
        load_interactions(path)


@pytest.mark.parametrize("per_second", [10**3, 10**6, 10**9])
def test_numbers_too_large_for_seconds_are_parts_of_seconds(tmp_path, per_second):
    newer, older = 1_433_224_214 * per_second, 1_433_221_332 * per_second
    path = write(tmp_path, "log.csv", f"user,item,time\n1,tea,{newer}\n1,cup,{older}\n")
    assert load_interactions(path).timestamps.tolist() == [1_433_221_332, 1_433_224_214]


def test_numbers_written_as_days_are_dates(tmp_path):
    path = write(tmp_path, "log.csv", "user,item,day\n1,tea,20260131\n1,cup,20260201\n")
    times = load_interactions(path, time="day").timestamps
    assert times.astype("datetime64[D]").astype(str).tolist() == ["2026-01-31", "2026-02-01"]


def test_one_number_that_is_no_day_is_named_beside_the_days(tmp_path):
    path = write(tmp_path, "log.csv", "user,item,time\n1,tea,20260131\n1,cup,20260232\n")
    with pytest.raises(
        ValueError, match=r"line 3: .*'20260232'.* but line 2 .*'20260131'.*time_un"
    ):
        load_interactions(path)
    times = load_interactions(path, time_unit="s").timestamps
    assert times.tolist() == [20260131, 20260232]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("user,item,time\n\n  \n1,a,2026-01-01\n\n1,b,soon\n", 6),
        ('user,note,item,time\n1,"x\ny",a,2026-01-01\n1,z,b,soon\n', 4),
        ("user::item::time\n\n1::a::soon\n", 3),
    ],
    ids=["empty lines", "a cell of two lines", "other separator"],
)
def test_the_line_named_is_the_line_of_the_file(tmp_path, text, line):
    with pytest.raises(ValueError, match=rf"line {line}: column 'time' holds 'soon'"):
        load_interactions(write(tmp_path, "log.csv", text))


def test_the_row_of_a_parquet_file_is_named(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"user": ["x", "y"], "item": [1, 2], "time": ["2026-01-01", "soon"]})
    frame.to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"log\.parquet, row 1: column 'time' holds 'soon'"):
        load_interactions(tmp_path / "log.parquet")


def test_text_that_parquet_holds_as_bytes_is_text(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"user": [b"x", b"y"], "item": [b"tea", b"cup"]})
    frame.to_parquet(tmp_path / "log.parquet")
    histories = load_interactions(tmp_path / "log.parquet")
    assert histories.user_ids.tolist() == ["x", "y"]
    assert histories[0].tolist() == ["tea"]


@pytest.mark.parametrize("name", ["u.data", "log.csv", "log.txt"])
def test_columns_of_a_file_without_header_are_picked_by_position(tmp_path, name):
    path = write(tmp_path, name, "196\t242\t3\t881250950\n196\t302\t4\t881250949\n")
    histories = load_interactions(path, user=0, item=1, time=3, weight=2)
    assert histories[0].tolist() == [302, 242]
    assert histories.weights.tolist() == [4, 3]


@pytest.mark.parametrize("mark", [",", "\t", "::"])
def test_a_file_without_header_is_said_to_have_none(tmp_path, mark):
    path = write(tmp_path, "log.csv", mark.join(["A3JM6G", "0558925278", "3.0", "1355443200"]))
    with pytest.raises(ValueError, match=r"no header line: it starts with \['A3JM6G'.*--user 0"):
        load_interactions(path)


def test_the_line_of_a_file_without_header_is_named(tmp_path):
    path = write(tmp_path, "log.csv", "1,tea,5\n1,,6\n")
    with pytest.raises(ValueError, match=r"line 2: column 1 is empty"):
        load_interactions(path, user=0, item=1)


def test_a_header_line_is_no_row_of_a_file_whose_columns_are_given_by_position(tmp_path):
    path = write(tmp_path, "log.csv", "user_id,item_id\n1,tea\n")
    with pytest.raises(ValueError, match=r"no header line, but the first line is \['user_id'"):
        load_interactions(path, user=0, item=1)


def test_a_table_named_txt_is_read_as_a_table(tmp_path):
    path = write(tmp_path, "log.txt", "user_id item_id timestamp\n1 tea 5\n1 cup 4\n")
    assert load_interactions(path)[0].tolist() == ["cup", "tea"]


def test_text_may_hold_one_pair_a_line(tmp_path):
    path = write(tmp_path, "log.txt", "1 8\n1 7\n2 9\n1 6\n")
    assert [row.tolist() for row in load_interactions(path)] == [[8, 7, 6], [9]]


def test_text_with_a_user_on_two_lines_is_refused(tmp_path):
    path = write(tmp_path, "log.txt", "1 8 9\r\n\r\n2 7\r\n1 7 8\r\n")
    with pytest.raises(ValueError, match=r"log\.txt, line 4: user 1 already has a line"):
        load_interactions(path)


def test_text_with_users_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 1: there is only 'a,b'"):
        load_interactions(write(tmp_path, "log.txt", "a,b\nc,d\n"))


@pytest.mark.parametrize("name", ["log.csv", "log.txt"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, name):
    text = "user,item\nu,tea\n" if name == "log.csv" else "u tea\n"
    assert load_interactions(write(tmp_path, name, "\ufeff" + text)).user_ids.tolist() == ["u"]


@pytest.mark.parametrize("name", ["log.csv.gz", "log.txt.gz"])
def test_a_gzip_with_damage_inside_is_refused(tmp_path, name):
    text = "user,item\n" + "".join(f"{i},{i * 7919 % 1000}\n" for i in range(50_000))
    path = write(tmp_path, name, text)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes([255]) * 50
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged or cut short"):
        load_interactions(path)


def test_other_packing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"packed as \.zip\. Unpack it, or compress it as \.gz"):
        load_interactions(write(tmp_path, "log.csv.zip", "user,item\n"))


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder\. Name one file"):
        load_interactions(tmp_path)


@pytest.mark.parametrize("kind", [".xlsx", ".json"])
def test_a_file_of_another_kind_is_named_with_the_way_out(kind, tmp_path):
    path = tmp_path / f"log{kind}"
    path.write_text("user,item\n1,2\n")
    with pytest.raises(ValueError, match=rf"is a \{kind} file\. Save it as CSV, TSV or Parquet"):
        load_interactions(path)
