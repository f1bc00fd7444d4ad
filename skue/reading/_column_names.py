"""Which columns of a log are the user, the item and the time, judging by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

# In order of preference. Weights are never guessed.
_USERS = (
    "user",
    "uid",
    "customer",
    "client",
    "visitor",
    "reviewer",
    "member",
    "buyer",
    "shopper",
    "account",
    "household",
    "person",
    "player",
    "session",
    "kunde",
    "kunden",
    "nutzer",
    "benutzer",
)
_ITEMS = (
    "item",
    "iid",
    "product",
    "sku",
    "asin",
    "article",
    "movie",
    "track",
    "song",
    "artist",
    "book",
    "isbn",
    "game",
    "video",
    "anime",
    "recipe",
    "news",
    "business",
    "venue",
    "artikel",
    "produkt",
)
_ENDINGS = ("id", "", "uuid", "code", "key", "no", "nr", "number", "nummer", "sku", "name")
_TIMES = (
    "timestamp",
    "time",
    "datetime",
    "date",
    "ts",
    "tdat",
    "zeitstempel",
    "zeitpunkt",
    "datum",
)
_DONE = (
    "event",
    "interaction",
    "transaction",
    "purchase",
    "purchased",
    "order",
    "ordered",
    "orderpurchase",
    "bought",
    "sale",
    "sold",
    "invoice",
    "payment",
    "visit",
    "visited",
    "viewed",
    "click",
    "clicked",
    "watched",
    "played",
    "listened",
    "review",
    "reviewed",
    "unixreview",
    "rating",
    "rated",
    "action",
    "checkin",
    "unix",
    "created",
    "creation",
    "occurred",
    "logged",
    "bestell",
    "bestellt",
    "kauf",
    "gekauft",
    "rechnungs",
)
_WHEN = ("timestamp", "time", "datetime", "date", "ts", "at", "on", "datum", "zeitpunkt", "am")
# In the name of a column of numbers, these speak of a time.
_SOUNDS_LIKE_TIME = ("time", "date", "stamp", "datum", "zeit", "unix", "epoch")


def _named(things: Iterable[str]) -> Iterator[str]:
    return (thing + ending for thing, ending in product(things, _ENDINGS))


_GUESSES: dict[str, list[str]] = {
    "user": list(_named(_USERS)),
    "item": ["itemid", "productid", *_named(_ITEMS), "stockcode"],
    "time": [*_TIMES, *map("".join, product(_DONE, _WHEN))],
}
# Words that say nothing about whose or what id it is.
_FILLERS = ("unique", "parent", "anonymous", "hashed")


def guess_column(columns: Iterable[Any], role: str) -> Any:
    """Return the column that has the usual name of a role, None without one.

    Parameters
    ----------
    columns : iterable of names
    role : {"user", "item", "time"}
        For any other role nothing is guessed.
    """
    plain: dict[str, Any] = {}
    for column in columns:
        plain.setdefault(_plain(column), column)
    return next((plain[name] for name in _GUESSES.get(role, []) if name in plain), None)


def sounds_like_time(column: Any) -> bool:
    """Tell whether a name speaks of a time."""
    plain = _plain(column)
    return plain in ("ts", "when", "t") or any(word in plain for word in _SOUNDS_LIKE_TIME)


def looks_like_a_log(columns: Iterable[Any]) -> bool:
    """Tell whether columns hold, by their names, a user and an item a row."""
    columns = list(columns)
    return all(guess_column(columns, role) is not None for role in ("user", "item"))


def _plain(column: Any) -> str:
    # RecBole writes the type after a colon: user_id:token.
    name = "".join(filter(str.isalnum, str(column).split(":")[0].lower()))
    for filler in _FILLERS:
        name = name.replace(filler, "")
    return name


def pick_column(held: list[Any], role: str, name: str | int | None, path: Path) -> Any:
    """Return the column for a role: the one that was named, or the one with a usual name.

    Raises
    ------
    ValueError
        Where the file has no such column, or several of that name.
    """
    if name is not None and name not in held:
        raise ValueError(f"{path} has no column {name!r} ({role}); it has {held}.")
    found = guess_column(held, role) if name is None else name
    if found is not None and held.count(found) > 1:
        raise ValueError(
            f"{path} has {held.count(found)} columns {found!r} ({role}). Rename all but one of "
            "them."
        )
    if found is not None or role not in ("user", "item"):
        return found
    if held and isinstance(held[0], int):
        raise ValueError(
            f"{path} is read without a header, because columns are given by position. Give the "
            f"position of the {role} as well: {role}=..., or --{role} on the command line, 0 to "
            f"{held[-1]}."
        )
    if any(map(is_number, held)):
        raise ValueError(
            f"{path} seems to have no header line: it starts with {held}. Give the positions "
            "of the columns, counted from 0: user=0, item=1, time=3, or --user 0 --item 1 "
            "--time 3 on the command line."
        )
    raise ValueError(
        f"{path} has no column that looks like the {role}; it has {held}. "
        f"Name it: {role}=..., or --{role} on the command line."
    )


def is_number(text: Any) -> bool:
    """Tell whether a text is written as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
