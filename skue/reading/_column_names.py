"""Which columns of a log are the user, the item and the time, found by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

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
# Of columns that may be weights. They are never read unless they are named.
_WEIGHTS = (
    "weight", "rating", "ratings", "score", "stars", "overall", "quantity", "qty", "count",
    "plays", "playcount", "amount", "menge", "anzahl", "bewertung",
)  # fmt: skip
# Parts of names that suggest that a column of numbers is a time.
_SOUNDS_LIKE_TIME = ("time", "date", "stamp", "datum", "zeit", "unix", "epoch")
_SOUNDS_LIKE_CLOCK = ("time", "zeit", "hour", "stunde", "clock")
# Last words of names of numbers that are times if their values can be.
_MAY_BE_TIME = re.compile(r"at|on|day|seen|when|[a-z]+ed|[mun]s|secs?|seconds|millis|micros|nanos")
_WORDS = re.compile("[A-Z]?[a-z]+|[A-Z]+")
# Times that something took, or counts.
_DURATIONS = (
    "watch", "run", "life", "spent", "play", "dwell", "listen", "duration", "elapsed", "times",
    "dauer", "zone", "birth",
)  # fmt: skip


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
    """Return the column that has a usual name of a role, the most usual one of several, or None.

    Parameters
    ----------
    columns : iterable of names
    role : {"user", "item", "time"}
        There are no usual names of other roles.
    """
    return next(iter(columns_named(columns, role)), None)


def columns_named(columns: Iterable[Any], role: str) -> list[Any]:
    """Return the columns that have a usual name of a role, the most usual first.

    Sessions and names count only if there is no other column.
    """
    usual = {name: place for place, name in enumerate(_GUESSES.get(role, []))}
    held = [column for column in dict.fromkeys(columns) if _plain(column) in usual]
    names = sorted(held, key=lambda column: usual[_plain(column)])
    return [name for name in names if not _is_weak(_plain(name))] or names


def may_be_weight(column: Any) -> bool:
    """Tell whether a column of numbers may be one of weights, by its name."""
    return _plain(column) in _WEIGHTS


def _is_weak(plain: str) -> bool:
    return plain.startswith("session") or plain.endswith(("name", "bezeichnung"))


def sounds_like_time(column: Any) -> bool:
    """Tell whether a name suggests a time."""
    plain = _plain(column)
    says_so = plain in ("ts", "when", "t") or any(word in plain for word in _SOUNDS_LIKE_TIME)
    return says_so and not any(word in plain for word in _DURATIONS)


def may_be_time(column: Any) -> bool:
    """Tell whether a column of numbers is one of times if its values can be, such as opened_ms."""
    words = _WORDS.findall(str(column).split(":")[0])
    return bool(words) and _MAY_BE_TIME.fullmatch(words[-1].lower()) is not None


def sounds_like_clock(column: Any) -> bool:
    """Tell whether a name suggests a time of day."""
    plain = _plain(column)
    says_so = any(word in plain for word in _SOUNDS_LIKE_CLOCK)
    return says_so and not any(word in plain for word in _DURATIONS)


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


def is_number(text: Any) -> bool:
    """Tell whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
