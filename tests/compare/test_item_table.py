"""``compare --item-features``: how a table of items is read, and what the report tells."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from skue.compare._id_table import TextOptions
from skue.compare._item_features import read_item_features

from test_command import run  # isort: skip

pandas = pytest.importorskip("pandas")

TABLE = """item_id,title,brand,price,is_red
i0,blue tea cup,A,1.5,0
i1,green tea cup,A,2,1
i2,steel saw,B,,0
i3,,B,9,1
"""
IDS = np.array(["i0", "i1"], dtype=object)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(TABLE)
    return path


def test_text_categories_and_numbers_are_told_apart(table):
    features, encoding, titles = read_item_features(table, IDS)
    assert titles == {"i0": "blue tea cup", "i1": "green tea cup", "i2": "steel saw"}
    assert features.ids.tolist() == ["i0", "i1", "i2", "i3"]
    assert encoding.startswith(
        "title as text, brand as categories, price as numbers, is_red as categories"
    )
    assert sp.issparse(features.values)
    # Six words, two brands, one price, two values of is_red.
    assert features.n_features == 6 + 2 + 1 + 2


def test_parquet_gives_the_same_as_csv(table, tmp_path):
    pytest.importorskip("pyarrow")
    pandas.read_csv(table).to_parquet(tmp_path / "items.parquet")
    one, other = (
        read_item_features(path, IDS).features for path in (table, tmp_path / "items.parquet")
    )
    np.testing.assert_allclose(one.values.toarray(), other.values.toarray())


def test_ids_get_the_type_of_the_log(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("sku,colour\n007,red\n8,blue\n")
    assert read_item_features(path, IDS).features.ids.tolist() == ["007", "8"]
    assert read_item_features(path, np.arange(3)).features.ids.tolist() == [7, 8]


@pytest.mark.parametrize("dtype", ["category", "Int64"])
def test_missing_values_are_read_from_columns_of_every_dtype(tmp_path, dtype):
    pytest.importorskip("pyarrow")
    column = pandas.Series([1, 0, 1, 0, 1, None]).astype("Int64").astype(dtype)
    path = tmp_path / "items.parquet"
    pandas.DataFrame({"item_id": range(6), "value": column}).to_parquet(path)
    features, encoding, _ = read_item_features(path, np.arange(6))
    assert encoding.startswith("value as categories")
    assert features.values.toarray().tolist() == [[0, 0, 1], [0, 1, 0]] * 2 + [[0, 0, 1], [1, 0, 0]]


def test_ids_with_fractions_are_refused(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "items.parquet"
    pandas.DataFrame({"item_id": [0.7, 1.7], "price": [1.0, 2.0]}).to_parquet(path)
    with pytest.raises(ValueError, match=r"items\.parquet: .*'0\.7' is text"):
        read_item_features(path, np.arange(3))


def test_the_report_tells_the_encoding_and_the_share_of_new_items(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["user,item,time"]
    for user in range(40):
        items = [*rng.choice(9, size=4, replace=False), 9 + user % 3 if user % 2 else 0]
        lines += [f"u{user},i{item},2026-01-{day + 1:02d}" for day, item in enumerate(items)]
    log, table = tmp_path / "log.csv", tmp_path / "items.csv"
    log.write_text("\n".join(lines) + "\n")
    table.write_text("item,group\n" + "".join(f"i{i},g{i % 3}\n" for i in range(12)))
    done = run("compare", log, "--item-features", table, "-k", 3, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["n_items"] == 12
    notes = " ".join(report["notes"])
    assert "Item features: group as categories (3 columns); 12 of 12 items of the log" in notes
    assert "50.0% of held-out items are new: no training history has them." in notes
    assert "Recall@3 of new items: plain average" in notes
    assert all(row["new_items"] is not None for row in report["rows"])


@pytest.mark.parametrize("mark", [";"])
def test_the_delimiter_is_found(tmp_path, table, mark):
    path = tmp_path / "others.csv"
    path.write_text(TABLE.replace(",", mark))
    one, other = (read_item_features(file, IDS) for file in (table, path))
    assert one.encoding == other.encoding
    np.testing.assert_array_equal(one.features.values.toarray(), other.features.values.toarray())


def test_encoding_and_decimal_mark_of_the_log_are_those_of_the_table(tmp_path):
    path = tmp_path / "items.csv"
    path.write_bytes("item;preis;titel\na;1,5;säge\nb;2;öl\nc;3;öl\n".encode("cp1252"))
    features, encoding, _ = read_item_features(
        path, IDS, text=TextOptions(encoding="cp1252", decimal=",")
    )
    assert encoding.startswith("preis as numbers, titel as text")
    assert features.n_features == 1 + 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,colour,price\ni1,red,1,\ni2,blue,2,\n", "line 2: there are 4 fields"),
        ("item,c,c\ni1,1,5\n", "2 columns 'c'"),
        ("item,price\ni1,1\ni2,2\ni3,n.a.\n", "line 4: column 'price' holds 'n.a.' among num"),
        ("i0::story\ni1::other\n", r"no header line: the first line is \['i0', 'story'\]"),
        ("item,sku,title\na,b,c\n", "the columns 'item' and 'sku' may hold the ids"),
    ],
    ids=["more", "twice", "one text", "no header", "two ids"],
)
def test_a_table_that_is_not_in_order_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "items.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_item_features(path, IDS)


def test_quote_marks_of_titles_are_read_as_they_are_with_no_quotes(tmp_path):
    path = tmp_path / "items.tsv"
    path.write_text('item\ttitle\ni0\t"Heroes\ni1\tthe end" of it\n')
    features, encoding, _ = read_item_features(path, IDS, text=TextOptions(quotes=False))
    assert features.ids.tolist() == ["i0", "i1"]
    assert "2 of 2 items of the log have features" in encoding
    with pytest.raises(ValueError, match="line 2"):
        read_item_features(path, IDS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.csv", b"item,title\n", "only a header line"),
        ("items.csv", b"item,title\na,x\na,y\n", "ids must be distinct.*'a'"),
        ("items.csv", b"item,title\n,x\nb,y\n", "line 2: the id .* is missing"),
        ("items.parquet", b"nonsense", "Parquet"),
    ],
)
def test_errors_in_the_table_name_the_option(tmp_path, name, content, message):
    pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"--item-features .*{name}: .*{message}"):
        read_item_features(path, IDS)
