"""Which columns of a log are the user, the item and the time, found by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple

# In order of preference. Weights are never guessed.
_USERS = (
    "user", "uid", "customer", "client", "visitor", "reviewer", "member", "buyer", "shopper",
    "account", "household", "person", "player", "session", "kunde", "kunden", "nutzer",
    "benutzer",
)  # fmt: skip
_ITEMS = (
    "item", "iid", "product", "sku", "asin", "article", "movie", "track", "song", "artist",
    "book", "isbn", "game", "video", "anime", "recipe", "news", "business", "venue", "artikel",
    "produkt",
)  # fmt: skip
_ENDINGS = (
    "id", "", "uuid", "code", "key", "no", "nr", "number", "nummer", "sku", "name", "bezeichnung",
)  # fmt: skip
_TIMES = (
    "timestamp", "time", "datetime", "date", "ts", "tdat", "zeitstempel", "zeitpunkt", "datum",
)  # fmt: skip
_DONE = (
    "event", "interaction", "transaction", "purchase", "purchased", "order", "ordered",
    "orderpurchase", "bought", "sale", "sold", "invoice", "payment", "visit", "visited",
    "viewed", "click", "clicked", "watched", "played", "listened", "review", "reviewed",
    "unixreview", "rating", "rated", "action", "checkin", "unix", "created", "creation",
    "occurred", "logged", "bestell", "bestellt", "kauf", "gekauft", "rechnungs",
)  # fmt: skip
_WHEN = ("timestamp", "time", "datetime", "date", "ts", "at", "on", "datum", "zeitpunkt", "am")
# Parts of names that suggest that a column of numbers is a time.
_SOUNDS_LIKE_TIME = ("time", "date", "stamp", "datum", "zeit", "unix", "epoch")


def _named(things: Iterable[str]) -> Iterator[str]:
    return (thing + ending for thing, ending in product(things, _ENDINGS))


_GUESSES: dict[str, list[str]] = {
    "user": list(_named(_USERS)),
    "item": ["itemid", "productid", *_named(_ITEMS), "stockcode"],
    "time": [*_TIMES, *map("".join, product(_DONE, _WHEN))],
}
# Words that are ignored in a name.
_FILLERS = ("unique", "parent", "anonymous", "hashed")


def guess_column(columns: Iterable[Any], role: str) -> Any:
    """Return the column that has a usual name of a role, or None.

    Parameters
    ----------
    columns : iterable of names
    role : {"user", "item", "time"}
        There are no usual names of other roles.
    """
    plain: dict[str, Any] = {}
    for column in columns:
        plain.setdefault(_plain(column), column)
    return next((plain[name] for name in _GUESSES.get(role, []) if name in plain), None)


def sounds_like_time(column: Any) -> bool:
    """Tell whether a name suggests a time."""
    plain = _plain(column)
    return plain in ("ts", "when", "t") or any(word in plain for word in _SOUNDS_LIKE_TIME)


def looks_like_a_log(columns: Iterable[Any]) -> bool:
    """Tell whether columns have usual names of a user and an item."""
    columns = list(columns)
    return all(guess_column(columns, role) is not None for role in ("user", "item"))


def _plain(column: Any) -> str:
    # RecBole writes the type after a colon: user_id:token.
    name = "".join(filter(str.isalnum, str(column).split(":")[0].lower()))
    for filler in _FILLERS:
        name = name.replace(filler, "")
    return name


class ColumnsRead(NamedTuple):
    """Which columns of a log were read.

    Attributes
    ----------
    names : list
        All columns.
    roles : dict of role to name
        The columns of the user, the item, the time and the weight; None if there is none.
    dates : list
        Columns that hold dates or times, if no column was read as the time.
    """

    names: list[Any]
    roles: dict[str, Any]
    dates: list[Any]


def pick_column(held: list[Any], role: str, name: str | int | None, source: str) -> Any:
    """Return the column for a role: the named one, or one with a usual name.

    Raises
    ------
    ValueError
        If the file has no such column, or several of that name.
    """
    if name is not None and name not in held:
        raise ValueError(f"{source} has no column {name!r} ({role}); it has {held}.")
    found = guess_column(held, role) if name is None else name
    if found is not None and held.count(found) > 1:
        raise ValueError(
            f"{source} has {held.count(found)} columns {found!r} ({role}). Rename all but one of "
            "them."
        )
    if found is not None or role not in ("user", "item"):
        return found
    if held and isinstance(held[0], int):
        raise ValueError(
            f"Columns of {source} are given by position, so give the {role} column by position "
            f"too: {role}=..., from 0 to {held[-1]}."
        )
    if any(map(is_number, held)):
        raise ValueError(
            f"{source} seems to have no header line: it starts with {held}. Give the positions of "
            "the columns, counted from 0, for example user=0, item=1, time=3."
        )
    raise ValueError(
        f"{source} has no column that looks like the {role}; it has {held}. Name it: {role}=..."
    )


def is_number(text: Any) -> bool:
    """Tell whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
