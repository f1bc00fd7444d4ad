"""Delimited text is read strictly: a malformed line is an error that names the line."""

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
        ("2,Tea", r"line 3: there are 2 fields"),
        ('2,"Tea,18', r"line 3: a quote mark is out of place, or its field is not closed"),
        ('2,Tea",18', r"line 3: a quote mark is out of place.*quotes=False"),
        ('2,"Tea" green,18', r"line 3: a quote mark is out of place"),
        ("2,Te\0a,18", r"line 3: there is a NUL byte"),
        ("2,Tea,-18", r"negative .*-18.* at line 3"),
        ("2,Tea,", r"line 3: column 'item_id' is empty"),
        ("\x0b", r"line 4"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    after = "3,Cup,19\n" if line != "\x0b" else "3,Cup\n"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, HEADER + "1,Pot,17\n" + line + "\n" + after)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quoted_fields_with_line_breaks_are_read_and_their_lines_counted(tmp_path, end):
    text = end.join(
        ["user_id,title,item_id", f'1,"a{end}{end}b ""c""","tea, green"', '2,,"te""a"', ""]
    )
    histories = load(tmp_path, text)
    assert [row.tolist() for row in histories] == [["tea, green"], ['te"a']]
    with pytest.raises(ValueError, match="line 6: there are 2 fields"):
        load(tmp_path, text + f"3,x{end}")


def test_a_quoted_field_whose_lines_could_be_rows_is_refused(tmp_path):
    text = 'user_id\ttitle\titem_id\n5\t"Earthling\t21\n6\tOuter\t22\n7\tHours"\t23\n'
    with pytest.raises(ValueError, match=r"line 2: .* continues on the next line.*quotes=False"):
        load(tmp_path, text, "log.tsv")
    histories = load(tmp_path, text, "log.tsv", quotes=False)
    assert histories.user_ids.tolist() == [5, 6, 7]


def test_blank_lines_are_ignored(tmp_path):
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


def test_a_second_header_line_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 3: this is a header line"):
        load(tmp_path, "user_id,item_id\n1,b\nUser_ID, ITEM_ID\n2,c\n")


def test_quote_marks_that_are_escaped_by_backslashes_are_read(tmp_path):
    text = '"user_id";"item_id"\n"1";"0155\\"061"\n"2";"a\\b"\n'
    histories = load(tmp_path, text)
    assert [row.tolist() for row in histories] == [['0155"061'], ["a\\b"]]
    with pytest.raises(ValueError, match=r"line 2: .*Write a quote mark in a field twice"):
        load(tmp_path, text + '"3";"\\\\"\n')


def test_quotes_false_is_refused_where_all_fields_are_quoted(tmp_path):
    with pytest.raises(ValueError, match=r"all fields of the header are in quote marks"):
        load(tmp_path, '"user_id";"item_id"\n"1";"2"\n', quotes=False)


def test_a_duplicate_column_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has 2 columns 'item_id'"):
        load(tmp_path, "user_id,item_id,item_id\n1,2,3\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user_id;item_id;price\n1;a;1,5\n", ["a"]),
        ("user_id|item_id|note\n1|a|x,y;z\n", ["a"]),
        ("user_id::note::item_id\n1::::a\n", ["a"]),
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


def test_ambiguous_colons_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 2: it is not clear where fields end"):
        load(tmp_path, "user_id::item_id::note\n1::2:::x\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": ",,"}, r"'delimiter' parameter must be one ASCII character.*Got ',,'"),
        ({"quotes": "no"}, r"'quotes' parameter must be True or False. Got 'no'"),
        ({"decimal": "·"}, r"'decimal' parameter must be '.' or ','"),
        ({"encoding": "klingon"}, r"encoding='klingon' is not a text encoding.*'cp1252'"),
    ],
)
def test_invalid_options_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "user,item\n1,2\n", **options)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("name", ["log.csv", "log.txt"])
def test_text_in_another_encoding_is_read(tmp_path, monkeypatch, encoding, name):
    monkeypatch.setattr(_delimited, "_PIECE", 3)
    text = "user,item\nJörg,café\n" if name == "log.csv" else "Jörg café\n"
    histories = load(tmp_path, text.encode(encoding), name, encoding=encoding)
    assert histories.user_ids.tolist() == ["Jörg"]
    assert histories[0].tolist() == ["café"]


@pytest.mark.parametrize("name", ["log.csv", "log.txt"])
def test_invalid_bytes_are_an_error_that_names_the_encoding_option(tmp_path, name):
    text = "user,item\r\n1,ä\r\n2,caf\udce9\r\n" if name == "log.csv" else "1 ä\r\n\r\n2 caf\udce9"
    with pytest.raises(ValueError, match=r"line 3: .* is not utf-8.*encoding='cp1252'"):
        load(tmp_path, text.encode("utf-8", "surrogateescape"), name)


def test_a_decimal_comma_is_an_error_that_names_the_option(tmp_path):
    text = "user;item;w\n1;a;2\n1;b;1,5\n"
    with pytest.raises(ValueError, match=r"line 3: column 'w' holds '1,5'.*decimal=','"):
        load(tmp_path, text, weight="w")
    assert load(tmp_path, text, weight="w", decimal=",").weights.tolist() == [2, 1.5]


def test_a_url_is_refused():
    with pytest.raises(ValueError, match=r"^s3://log\.parquet is a URL. Download the file first"):
        load_interactions("s3://log.parquet")


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
