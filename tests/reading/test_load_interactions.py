"""Files of every kind, and the errors for invalid ones."""

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


@pytest.mark.parametrize("name", ["log.txt", "log.txt.gz"])
def test_a_text_file_has_one_user_per_line(tmp_path, name):
    histories = load_interactions(write(tmp_path, name, "u1 5 6 7\nu2 6\n\n"))
    assert histories.user_ids.tolist() == ["u1", "u2"]
    assert [row.tolist() for row in histories] == [[5, 6, 7], [6]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", "", "is empty; a header line"),
        ("log.csv", "user,item\n", "has only a header line"),
        ("log.csv", "a,b\n1,2\n", r"which column is the user and which the item\? .* \['a', 'b'\]"),
        ("log.csv", "user,item\n1,\n", "line 2: column 'item' is empty"),
        ("log.csv", "user,item,date\n1,2,13/04/2026\n1,3,04/13/2026\n", "line 3: .*but line 2 h"),
        ("log.txt", "\n", "is empty; one user per line"),
        ("log.txt", "a,b\nc,d\n", "line 1: there is only 'a,b'"),
        ("log.parquet", "no parquet", "not a readable Parquet file"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        load_interactions(write(tmp_path, name, text))


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["01.03.2026 10:00", "02.03.2026 9:30"], ["2026-03-01T10:00", "2026-03-02T09:30"]),
        (["1/3/2026", "13/3/2026"], ["2026-03-01", "2026-03-13"]),
        (["3/1/2026", "3/13/2026"], ["2026-03-01", "2026-03-13"]),
        (["1-3-2026", "13-3-2026"], ["2026-03-01", "2026-03-13"]),
    ],
)
def test_the_order_of_day_and_month_is_inferred_from_the_other_dates(tmp_path, dates, expected):
    path = tmp_path / "log.csv"
    path.write_text("user,item,date\n" + "".join(f"1,tea,{date}\n" for date in dates))
    times = load_interactions(path).timestamps
    assert times.tolist() == np.array(expected, dtype="datetime64[us]").tolist()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("user,item,time\n\n  \n1,a,2026-01-01\n\n1,b,soon\n", 6),
        ('user,note,item,time\n1,"x\ny",a,2026-01-01\n1,z,b,soon\n', 4),
        ("user::item::time\n\n1::a::soon\n", 3),
    ],
    ids=["empty lines", "a cell of two lines", "other separator"],
)
def test_the_line_in_an_error_is_that_of_the_file(tmp_path, text, line):
    with pytest.raises(ValueError, match=rf"line {line}: column 'time' holds 'soon'"):
        load_interactions(write(tmp_path, "log.csv", text))


@pytest.mark.parametrize("name", ["u.data", "log.csv", "log.txt"])
def test_columns_of_a_file_without_a_header_are_given_by_position(tmp_path, name):
    path = write(tmp_path, name, "196\t242\t3\t881250950\n196\t302\t4\t881250949\n")
    histories = load_interactions(path, user=0, item=1, time=3, weight=2)
    assert histories[0].tolist() == [302, 242]
    assert histories.weights.tolist() == [4, 3]


@pytest.mark.parametrize("mark", [",", "\t", "::"])
def test_a_missing_header_line_is_named(tmp_path, mark):
    path = write(tmp_path, "log.csv", mark.join(["A3JM6G", "0558925278", "3.0", "1355443200"]))
    with pytest.raises(ValueError, match=r"no header line: it starts with \['A3JM6G'.*user=0"):
        load_interactions(path)


def test_positions_are_refused_for_a_file_with_a_header(tmp_path):
    path = write(tmp_path, "log.csv", "user_id,item_id\n1,tea\n")
    with pytest.raises(ValueError, match=r"no header line, but the first line is \['user_id'"):
        load_interactions(path, user=0, item=1)


def test_a_text_file_can_have_one_pair_per_line(tmp_path):
    path = write(tmp_path, "log.txt", "1 8\n1 7\n2 9\n1 6\n")
    assert [row.tolist() for row in load_interactions(path)] == [[8, 7, 6], [9]]


def test_a_user_on_two_lines_is_refused(tmp_path):
    path = write(tmp_path, "log.txt", "1 8 9\r\n\r\n2 7\r\n1 7 8\r\n")
    with pytest.raises(ValueError, match=r"log\.txt, line 4: user 1 already has a line"):
        load_interactions(path)


@pytest.mark.parametrize("name", ["log.csv.gz", "log.txt.gz"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_damaged_gzip_file_is_refused(tmp_path, name, is_cut):
    text = "user,item\n" + "".join(f"{i},{i * 7919 % 1000}\n" for i in range(9000))
    path = write(tmp_path, name, text)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes([255]) * 50
    path.write_bytes(path.read_bytes()[:-3000] if is_cut else content)
    with pytest.raises(ValueError, match=r"damaged or cut short"):
        load_interactions(path)


def test_other_kinds_of_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"packed as \.zip\. Unpack it, or compress it as \.gz"):
        load_interactions(write(tmp_path, "log.csv.zip", "user,item\n"))
    with pytest.raises(ValueError, match=r"is a \.json file\. Save it as CSV, TSV or Parquet"):
        load_interactions(write(tmp_path, "log.json", "[]"))


def test_without_times_the_order_of_the_lines_is_used(tmp_path):
    path = write(tmp_path, "log.csv", "user,item,date\n1,b,2026-01-02\n1,a,soon\n")
    histories = load_interactions(path, time=False)
    assert histories.timestamps is None
    assert histories[0].tolist() == ["b", "a"]
    pytest.importorskip("pyarrow")
    pandas.read_csv(path).to_parquet(tmp_path / "log.parquet")
    assert load_interactions(tmp_path / "log.parquet", time=False)[0].tolist() == ["b", "a"]


def test_a_column_is_a_name_or_a_position(tmp_path):
    with pytest.raises(ValueError, match="must be the name or the position of a column"):
        load_interactions(write(tmp_path, "log.csv", CSV), user=False)


def test_a_blank_time_is_called_empty(tmp_path):
    path = write(tmp_path, "log.csv", "user,item,date\n1,b,2026-01-02\n1,a,\n1,c, \n")
    with pytest.raises(ValueError, match=r"line 3: column 'date' is empty \(2 such rows\)"):
        load_interactions(path)


def test_a_column_of_dates_without_a_usual_name_is_warned_of(tmp_path):
    path = write(tmp_path, "log.csv", "user,item,letzter Kauf\n1,b,2026-01-02\n1,a,2026-01-01\n")
    with pytest.warns(UserWarning, match=r"'letzter Kauf' holds dates.*time='letzter Kauf', or"):
        assert load_interactions(path)[0].tolist() == ["b", "a"]
    assert load_interactions(path, time="letzter Kauf")[0].tolist() == ["a", "b"]
    assert load_interactions(path, time=False)[0].tolist() == ["b", "a"]
    usual = write(tmp_path, "usual.csv", "user,item,size\n1,b,10\n")
    assert load_interactions(usual).timestamps is None


def test_an_invalid_day_written_as_digits_is_named(tmp_path):
    path = write(tmp_path, "log.csv", "user,item,time\n1,tea,20260131\n1,cup,20260232\n")
    message = r"line 3: .*'20260232'.* but line 2 .*'20260131'.*time_unit"
    with pytest.raises(ValueError, match=message):
        load_interactions(path)
    assert load_interactions(path, time_unit="s").timestamps.tolist() == [20260131, 20260232]
