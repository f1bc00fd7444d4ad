"""Columns recognised by their names."""

import pytest

from skue.reading._column_names import guess_column, looks_like_a_log


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("user_id,item_id,timestamp,quantity", ("user_id", "item_id", "timestamp")),
        ("userId,movieId,rating,timestamp", ("userId", "movieId", "timestamp")),
        (
            "event_time,event_type,product_id,category_id,user_id,user_session",
            ("user_id", "product_id", "event_time"),
        ),
        (
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
            ("CustomerID", "StockCode", "InvoiceDate"),
        ),
        ("t_dat,customer_id,article_id,price", ("customer_id", "article_id", "t_dat")),
        ("user_id,parent_asin,rating,timestamp", ("user_id", "parent_asin", "timestamp")),
        ("reviewerID,asin,overall,unixReviewTime", ("reviewerID", "asin", "unixReviewTime")),
        (
            "order_id,customer_unique_id,product_id,order_purchase_timestamp,shipping_limit_date",
            ("customer_unique_id", "product_id", "order_purchase_timestamp"),
        ),
        (
            "user_id:token,item_id:token,rating:float,timestamp:float",
            ("user_id:token", "item_id:token", "timestamp:float"),
        ),
        ("sessionId;userId;itemId;timeframe;eventdate", ("userId", "itemId", "eventdate")),
        ("Kunden-Nr.;Artikelnummer;Bestelldatum", ("Kunden-Nr.", "Artikelnummer", "Bestelldatum")),
        (
            "Kundennr;Größe;Artikelbezeichnung;Kaufdatum",
            ("Kundennr", "Artikelbezeichnung", "Kaufdatum"),
        ),
        ("Customer No.,Product Code,Order Date", ("Customer No.", "Product Code", "Order Date")),
    ],
)
def test_the_columns_of_known_logs_are_found(header, expected):
    columns = header.split(";" if ";" in header else ",")
    assert tuple(guess_column(columns, role) for role in ("user", "item", "time")) == expected


@pytest.mark.parametrize(
    "column", ["release_date", "updated_at", "watch_time", "runtime", "birthdate", "shipped_at"]
)
def test_a_date_of_something_else_is_not_guessed_as_the_time(column):
    assert guess_column(["user", "item", column], "time") is None


@pytest.mark.parametrize("column", ["product_category", "item_price", "location", "order_id"])
def test_other_columns_are_not_guessed_as_the_item(column):
    assert guess_column(["user", column], "item") is None


@pytest.mark.parametrize("column", ["weight", "quantity", "rating"])
def test_weights_are_never_guessed(column):
    assert guess_column(["user", "item", column], "weight") is None


def test_a_log_has_a_user_and_an_item():
    assert looks_like_a_log(["Customer ID", "sku"])
    assert not looks_like_a_log(["items", "timestamps"])
    assert not looks_like_a_log([0, 1, 2])
