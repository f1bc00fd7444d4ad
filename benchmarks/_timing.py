"""Time contenders in alternating order in the same run, so that load affects all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def side_by_side(
    contenders: dict[str, Callable[[], Any]], *, rounds: int = 7
) -> dict[str, list[float]]:
    """Return the seconds of every round, after a warm-up round.

    The order rotates by one place each round, so each contender starts some of the rounds.
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
    """Return how many times as fast as the peer it is: the median ratio over rounds."""
    rounds = zip(seconds[name], seconds[peer], strict=True)
    return statistics.median(theirs / ours for ours, theirs in rounds)


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the median seconds of each contender."""
    return {name: statistics.median(values) for name, values in seconds.items()}
