"""Times side by side: what shares one run, in alternating order, shares the machine's moods."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def side_by_side(
    contenders: dict[str, Callable[[], Any]], *, rounds: int = 7
) -> dict[str, list[float]]:
    """Return the seconds of every round, after one that does not count.

    The order turns by one place each round, so that no contender always runs after the same.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        contenders[name]()
    for shift in range(rounds):
        turn = shift % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def speed_ratio(seconds: dict[str, list[float]], name: str, peer: str) -> float:
    """Return how many times as fast as the peer: the median over rounds of the ratio."""
    rounds = zip(seconds[name], seconds[peer], strict=True)
    return statistics.median(theirs / ours for ours, theirs in rounds)


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the median seconds of each contender."""
    return {name: statistics.median(values) for name, values in seconds.items()}
