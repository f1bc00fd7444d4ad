"""Delimited text is read strictly: a malformed line is an error that names the line."""

import re
import warnings

import numpy as np
import pytest

from skue import load_interactions
from skue.reading import _delimited

pytest.importorskip("pyarrow")

HEADER = "user_id,title,item_id\n"


def write(folder, content, name="log.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load(folder, content, name="log.csv", **options):
    return load_interactions(write(folder, content, name), **options)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2,Tea, green,18", r"line 3: there are 4 fields, but the header has 3: '2,Tea, green,18'"),
        ("2,Tea,18,", r"line 3: there are 4 fields"),
        ("2,Tea", r"line 3: there are 2 fields"),
        ('2,"Tea,18', r"line 3: a quote mark opens a field that is not closed"),
        ('2,Te"a,18', r"line 3: there is a quote mark inside a field.*quotes=False"),
        ('2,Tea",18', r"line 3: there is a quote mark inside a field"),
        ('2, "Tea",18', r"line 3: there is a quote mark inside a field"),
        ('2,"Tea" green,18', r"line 3: a quote mark opens a field, .* on line 3, does not close"),
        ('2,"Te"a",18', r"line 3: a quote mark opens a field, .* on line 3, does not close"),
        ("2,Te\0a,18", r"line 3: there is a NUL byte"),
        ("2,Tea,-18", r"negative .*-18.* at line 3"),
        (",Tea,18", r"line 3: column 'user_id' is empty"),
        ("2,Tea,", r"line 3: column 'item_id' is empty"),
        ("\x0b", r"line 4"),
    ],
)
@pytest.mark.parametrize("size", [2**24, 7])
def test_a_malformed_line_is_named(tmp_path, monkeypatch, line, message, size):
    monkeypatch.setattr(_delimited, "_PIECE", size)
    after = "3,Cup,19\n" if line != "\x0b" else "3,Cup\n"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, HEADER + "1,Pot,17\n" + line + "\n" + after)


@pytest.mark.parametrize("size", [2**24, 7])
def test_a_malformed_line_in_a_later_block_is_named(tmp_path, monkeypatch, size):
    if size == 7:
        rows = [f"{i},a,{i % 9}" for i in range(300)]
    else:
        monkeypatch.setattr(_delimited, "_PIECE", 2**16)
        rows = [f"{i},{'x' * (i % 50)},{i % 9}" for i in range(100_000)]
    rows[-5] += ",1"
    with pytest.raises(ValueError, match=rf"line {len(rows) - 3}: there are 4 fields"):
        load(tmp_path, HEADER + "\n".join(rows))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [2**24, 5])
def test_quoted_fields_with_line_breaks_are_read_and_their_lines_counted(
    tmp_path, monkeypatch, end, size
):
    monkeypatch.setattr(_delimited, "_PIECE", size)
    text = end.join(
        ["user_id,title,item_id", f'1,"a{end}{end}b ""c""","tea, green"', '2,,"te""a"', ""]
    )
    histories = load(tmp_path, text)
    assert [row.tolist() for row in histories] == [["tea, green"], ['te"a']]
    with pytest.raises(ValueError, match="line 6: there are 2 fields"):
        load(tmp_path, text + f"3,x{end}")


def test_a_blank_line_in_a_quoted_field_does_not_hide_that_the_field_is_ambiguous(tmp_path):
    for end in ("\n", "\r\n"):
        text = end.join(["user,item", '1,"a', "", '2,b"', ""])
        with pytest.raises(ValueError, match=r"line 2: .* continues on the next line"):
            load(tmp_path, text)


def test_a_quoted_field_whose_lines_could_be_rows_is_refused(tmp_path):
    text = 'user_id\ttitle\titem_id\n5\t"Earthling\t21\n6\tOuter\t22\n7\tHours"\t23\n'
    with pytest.raises(ValueError, match=r"line 2: .* continues on the next line.*quotes=False"):
        load(tmp_path, text, "log.tsv")
    histories = load(tmp_path, text, "log.tsv", quotes=False)
    assert histories.user_ids.tolist() == [5, 6, 7]


def test_with_quotes_false_a_quote_mark_is_an_ordinary_character(tmp_path):
    text = HEADER + '1,"Tea,"17"\n2,Te"a,18\n'
    histories = load(tmp_path, text, quotes=False)
    assert [row.tolist() for row in histories] == [['"17"'], ["18"]]


@pytest.mark.parametrize("size", [2**24, 2])
def test_blank_lines_are_ignored(tmp_path, monkeypatch, size):
    monkeypatch.setattr(_delimited, "_PIECE", size)
    text = "\n \nuser_id,item_id\n\n  \n1,a\n\t\n\n2,b\n\n"
    assert load(tmp_path, text).user_ids.tolist() == [1, 2]
    with pytest.raises(ValueError, match="line 11: there are 3 fields"):
        load(tmp_path, text + "3,c,d\n")


@pytest.mark.parametrize("name", ["log.csv", "log.txt"])
def test_a_line_that_starts_with_a_byte_order_mark_is_refused(tmp_path, name):
    text = "user_id,item_id\n1,b\n\ufeff1,a\n" if name == "log.csv" else "1 5\n2 5\n\ufeff3 5\n"
    with pytest.raises(ValueError, match=r"line 3: the line starts with a byte order mark"):
        load(tmp_path, text, name)
    assert load(tmp_path, "user_id,item_id\n1,b\ufeff\n")[0].tolist() == ["b\ufeff"]


@pytest.mark.parametrize("again", ["user_id,item_id", "item_id,user_id", "User_ID, ITEM_ID"])
def test_a_second_header_line_is_refused(tmp_path, again):
    with pytest.raises(ValueError, match=r"line 3: this is a header line"):
        load(tmp_path, f"user_id,item_id\n1,b\n{again}\n2,c\n")


def test_a_header_line_in_a_file_without_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 2: this is a header line"):
        load(tmp_path, "1,b\nuserId,sku\n2,c\n", user=0, item=1)


def test_quote_marks_that_are_escaped_by_backslashes_are_read(tmp_path):
    text = '"user_id";"item_id"\n"1";"0155\\"061"\n"2";"a\\b"\n'
    histories = load(tmp_path, text)
    assert [row.tolist() for row in histories] == [['0155"061'], ["a\\b"]]
    with pytest.raises(ValueError, match=r"line 2: .*Write a quote mark in a field twice"):
        load(tmp_path, text + '"3";"\\\\"\n')


def test_quotes_false_is_refused_where_all_fields_are_quoted(tmp_path):
    with pytest.raises(ValueError, match=r"quotes=False, but all fields of the header are in"):
        load(tmp_path, '"user_id";"item_id"\n"1";"2"\n', quotes=False)


def test_text_ids_are_not_changed(tmp_path):
    ids = [" tea", "tea", "tea ", "7", "007", "+7", "NA", "nan", "1e3", "9223372036854775808"]
    histories = load(tmp_path, "user_id,item_id\n" + "".join(f"{name},x\n" for name in ids))
    assert histories.user_ids.tolist() == sorted(ids)


@pytest.mark.parametrize("odd", ["007", "+7", " 7", "7.0", "-0", "9223372036854775808", "x"])
def test_one_id_that_is_not_a_plain_integer_makes_all_ids_text(tmp_path, monkeypatch, odd):
    monkeypatch.setattr(_delimited, "_PIECE", 64)
    ids = [*map(str, range(-20, 20)), odd, *map(str, range(5))]
    histories = load(tmp_path, "user_id,item_id\n" + "".join(f"{name},1\n" for name in ids))
    assert histories.user_ids.tolist() == sorted(set(ids))


def test_64_bit_integers_are_read_as_integers(tmp_path):
    histories = load(tmp_path, f"user_id,item_id\n{-(2**63) + 1},{2**63 - 1}\n")
    assert histories.user_ids.tolist() == [-(2**63) + 1]
    assert histories[0].tolist() == [2**63 - 1]


def test_one_column_may_have_two_roles(tmp_path):
    histories = load(tmp_path, "who,what\n1,5\n2,6\n", user="who", item="what", weight="what")
    assert histories.weights.tolist() == [5, 6]
    histories = load(tmp_path, "who,what\n1,5\n2,6\n", user="who", item="who", time="who")
    assert histories.item_ids.tolist() == [1, 2]
    assert histories.timestamps.tolist() == [1, 2]


@pytest.mark.parametrize("name", ["user_id", "item_id"])
def test_a_duplicate_column_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"has 2 columns '{name}'"):
        load(tmp_path, f"user_id,item_id,{name}\n1,2,3\n")


def test_unusual_names_of_unused_columns_are_ignored(tmp_path):
    assert load(tmp_path, 'user_id,,x,x,item_id,"a\nb"\n1,,,,2,\n').user_ids.tolist() == [1]


def test_blanks_around_column_names_are_stripped(tmp_path):
    assert load(tmp_path, "who, what\n1,2\n", user="who", item="what").user_ids.tolist() == [1]


def test_a_quote_mark_inside_a_column_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 2: there is a quote mark inside a field"):
        load(tmp_path, '\nuser_id,item_id,12" size\n1,2,3\n')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user_id;item_id;price\n1;a;1,5\n", ["a"]),
        ("user_id|item_id|note\n1|a|x,y;z\n", ["a"]),
        ("user_id::item_id::stars\n1::a::5\n", ["a"]),
        ("user_id,item_id,a;b\n1,a,x;y\n", ["a"]),
        ("user_id item_id\n1 a\n", ["a"]),
        ("user_id\titem_id\n1\t1,5 l\n", ["1,5 l"]),
        ("user_id;item_id;a,b\n1;x,1;2\n", ["x,1"]),
    ],
)
def test_the_delimiter_is_inferred(tmp_path, text, expected):
    assert load(tmp_path, text)[0].tolist() == expected


def test_an_ambiguous_delimiter_asks_for_the_option(tmp_path):
    text = "a;x,b;y\n1;2,3;4\n"
    with pytest.raises(ValueError, match=r"the delimiter is not clear.*delimiter=','"):
        load(tmp_path, text)
    histories = load(tmp_path, text, delimiter=",", user="a;x", item="b;y")
    assert histories.user_ids.tolist() == ["1;2"]


def test_any_mark_can_be_the_delimiter(tmp_path):
    assert load(tmp_path, "user_id^item_id\n1^2,3\n", delimiter="^")[0].tolist() == ["2,3"]


@pytest.mark.parametrize("text", ["1::2:::x", "1:::2::3", "1::2\x1f::3"])
def test_ambiguous_colons_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"line 2: it is not clear where fields end"):
        load(tmp_path, f"user_id::item_id::note\n{text}\n")


def test_a_field_between_double_colons_can_be_empty(tmp_path):
    assert load(tmp_path, "user_id::note::item_id\n1::::2\n")[0].tolist() == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": ",,"}, r"'delimiter' parameter must be one ASCII character.*Got ',,'"),
        ({"delimiter": '"'}, r"'delimiter' parameter"),
        ({"delimiter": "a"}, r"'delimiter' parameter"),
        ({"quotes": "no"}, r"'quotes' parameter must be True or False. Got 'no'"),
        ({"decimal": "·"}, r"'decimal' parameter must be '.' or ','"),
        ({"encoding": "klingon"}, r"encoding='klingon' is not a text encoding.*'cp1252'"),
        ({"encoding": "base64"}, r"encoding='base64' is not a text encoding"),
        ({"encoding": None}, r"encoding=None is not a text encoding"),
    ],
)
def test_invalid_options_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "user,item\n1,2\n", **options)


@pytest.mark.parametrize(
    "encoding", ["cp1252", "latin", "latin-1", "utf-16", "utf-8-sig", "utf-16-le"]
)
@pytest.mark.parametrize("size", [2**24, 3])
@pytest.mark.parametrize("name", ["log.csv", "log.txt"])
def test_text_in_another_encoding_is_read(tmp_path, monkeypatch, encoding, size, name):
    monkeypatch.setattr(_delimited, "_PIECE", size)
    text = "user,item\nJörg,café\n" if name == "log.csv" else "Jörg café\n"
    histories = load(tmp_path, text.encode(encoding), name, encoding=encoding)
    assert histories.user_ids.tolist() == ["Jörg"]
    assert histories[0].tolist() == ["café"]


@pytest.mark.parametrize("size", [2**24, 3])
@pytest.mark.parametrize("name", ["log.csv", "log.txt"])
def test_invalid_bytes_are_an_error_that_names_the_encoding_option(
    tmp_path, monkeypatch, size, name
):
    monkeypatch.setattr(_delimited, "_PIECE", size)
    text = "user,item\r\n1,ä\r\n2,caf\udce9\r\n" if name == "log.csv" else "1 ä\r\n\r\n2 caf\udce9"
    with pytest.raises(ValueError, match=r"line 3: .* is not utf-8.*encoding='cp1252'"):
        load(tmp_path, text.encode("utf-8", "surrogateescape"), name)


def test_a_file_that_ends_inside_a_character_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 2: .* is not utf-8"):
        load(tmp_path, "user,item\n1,ä".encode()[:-1])


def test_the_error_for_a_utf_16_file_suggests_its_encoding(tmp_path):
    with pytest.raises(ValueError, match=r"line 1: .*starts like UTF-16: try encoding='utf-16'"):
        load(tmp_path, "user,item\n1,2\n".encode("utf-16"))


def test_a_decimal_comma_is_an_error_that_names_the_option(tmp_path):
    text = "user;item;w\n1;a;2\n1;b;1,5\n"
    with pytest.raises(ValueError, match=r"line 3: column 'w' holds '1,5'.*decimal=','"):
        load(tmp_path, text, weight="w")
    assert load(tmp_path, text, weight="w", decimal=",").weights.tolist() == [2, 1.5]


@pytest.mark.parametrize("number", ["1.5", "1.234,5", "nan", "inf", "1_0", "0x1", "", "1 000"])
def test_an_invalid_number_with_a_decimal_comma_is_named(tmp_path, number):
    with pytest.raises(ValueError, match=r"line 2: column 'w' (holds|is empty)"):
        load(tmp_path, f"user;item;w\n1;a;{number}\n", weight="w", decimal=",")


@pytest.mark.parametrize(
    "url", ["https://example.org/log.csv", "s3://bucket/log.parquet", "file:///tmp/log.csv"]
)
def test_a_url_is_refused(url):
    with pytest.raises(ValueError, match=rf"^{re.escape(url)} is a URL. Download the file first"):
        load_interactions(url)


def test_a_very_long_field_is_read(tmp_path):
    long = "y" * 5_000_000
    histories = load(tmp_path, f"user_id,item_id,note\n1,a,{long}\n1,{long},z\n")
    assert sorted(map(len, histories[0].tolist())) == [1, len(long)]


def test_a_bad_date_below_a_long_field_is_named_by_its_line(tmp_path):
    text = f"user_id,item_id,note,date\n1,a,{'y' * 200_000},2026-01-01\n1,b,z,notadate\n"
    with pytest.raises(ValueError, match=r"line 3: column 'date' holds 'notadate'"):
        load(tmp_path, text)


def test_negative_user_ids_are_read(tmp_path):
    assert load(tmp_path, "user_id,item_id\n-1,5\n1,5\n").user_ids.tolist() == [-1, 1]


def test_a_negative_item_in_a_sequence_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"negative.*-7 at line 3"):
        load(tmp_path, "1 5 6\n\n2 5 -7\n", "log.txt")


def test_ids_in_a_sequence_file_can_contain_delimiters_and_quotes(tmp_path):
    histories = load(tmp_path, 'u,1 a,b c;d "e\nu;2 x"y|z\n', "log.txt")
    assert histories.user_ids.tolist() == ["u,1", "u;2"]
    assert [row.tolist() for row in histories] == [["a,b", "c;d", '"e'], ['x"y|z']]


@pytest.mark.parametrize(
    ("content", "mark"),
    [("u1, 5, 6\nu2, 7\n", ","), ("1;red cup\n2;blue cup\n", ";"), ("1::a b\n2::c d\n", "::")],
)
def test_a_table_that_is_read_as_sequences_is_refused(tmp_path, content, mark):
    with pytest.raises(ValueError, match=f"line 1: the user id would be.*delimiter='{mark}'"):
        load(tmp_path, content, "log.txt")


@pytest.mark.parametrize("at", range(-2, 2))
def test_a_line_break_in_an_id_is_kept_where_the_parser_would_cut(tmp_path, at):
    before = "1,x\n" * 100
    item = "q" * (_delimited._BLOCK + at - len(before) - len('2,"'))
    content = f'user,item\n{before}2,"{item}\r\nz"\n3,k\n'
    histories = load(tmp_path, content)
    assert histories[1].tolist() == [f"{item}\r\nz"]


def test_a_delimiter_of_two_letters_in_a_quoted_field_is_refused(tmp_path):
    with pytest.raises(ValueError, match="line 3: a quoted field contains '::'"):
        load(tmp_path, 'user::item\n1::c\n1::"a::b"\n')
    histories = load(tmp_path, 'user::item\n1::c\n1::"a:b"\n')
    assert histories[0].tolist() == ["c", "a:b"]
    histories = load(tmp_path, 'user::item\n1::c\n1::"a"\n', quotes=False)
    assert histories[0].tolist() == ["c", '"a"']


def test_a_nul_byte_in_a_sequence_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="line 2: there is a NUL byte"):
        load(tmp_path, "ann a b\nann\0 a\n", "log.txt")


def test_a_german_csv_file_needs_no_option(tmp_path):
    rows = [f"K{i % 7};A{i % 11};{1 + i % 28:02}.12.2025 14:05;{i},50" for i in range(30)]
    text = "\r\n".join(["Kundennummer;Artikelnummer;Bestelldatum;Preis", *rows])
    histories = load(tmp_path, "\ufeff" + text)
    assert len(histories) == 7
    assert histories.timestamps.min().astype(str).startswith("2025-12-01T14:05")
    with pytest.raises(ValueError, match=r"holds '0,50'.*decimal=','"):
        load(tmp_path, text, weight="Preis")
    other = text.replace("Artikelnummer", "Größe")
    with pytest.raises(ValueError, match=r"line 1: .*encoding='cp1252'"):
        load(tmp_path, other.encode("cp1252"))
    with pytest.raises(ValueError, match=r"which column is the item\? .*'Größe'.*item=\.\.\."):
        load(tmp_path, other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user_id,item_id,gekauft\n1,2,31.12.2025\n", "gekauft"),
        ("user_id,item_id,gekauft\n1,2,\n1,2,31.12.2025\n", "gekauft"),
        ("user_id,item_id,kaufzeit\n1,2,1700000000\n", "kaufzeit"),
        ("user_id,item_id,phone\n1,2,1700000000\n", None),
        ("user_id,item_id,size\n1,2,10\n", None),
        ("user_id,item_id,note\n1,2,hello\n", None),
        ("user_id,item_id,note\n1,2,\n", None),
    ],
)
def test_columns_of_times_without_a_usual_name_are_warned_of(tmp_path, text, expected):
    if expected is None:
        assert load(tmp_path, text).timestamps is None
        return
    with pytest.warns(UserWarning, match=rf"column '{expected}' holds dates.*time='{expected}'"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("column", "is_warned_of"),
    [
        (["01.02.2026"], True),
        ([np.datetime64("2026-01-01", "us")], True),
        ([1_700_000_000], True),
        ([[1]], False),
    ],
)
def test_columns_of_times_in_parquet_are_warned_of(tmp_path, column, is_warned_of):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1], "item": [2], "unix": column, "n": [1_700_000_000]})
    frame.to_parquet(tmp_path / "log.parquet")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_interactions(tmp_path / "log.parquet")
    assert [("'unix'" in str(warning.message)) for warning in caught] == [True] * is_warned_of
