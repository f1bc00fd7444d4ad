"""Where the time of a training step goes: one pair of towers, sampled negatives, one thread.

    python benchmarks/step.py

prints the milliseconds and the share of each part of a step, with 192 dimensions, 99,000 items
and the default batch size.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from threadpoolctl import threadpool_limits
from training import trainers

from skue.encoders.two_tower import _trainer

N_STEPS = 100
# Functions that a step calls, and what they do.
PARTS = {
    "batch_of": "events of the batch as matrices",
    "pool": "pooling",
    "pool_gradient": "gradient of the pooling",
    "head": "linear map and MLP",
    "head_gradient": "gradient of the linear map and the MLP",
    "sampled_softmax": "scores, softmax and their gradients",
    "add_at_rows": "gradients of events and candidates, summed by item",
    "_unit": "item vectors at length 1",
}
OF_TRAINER = {"_dropout": "dropout"}


def timed(function: Callable[..., Any], part: str, seconds: dict[str, float]) -> Any:
    """Return the function, which now adds its time to the seconds of a part."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        started = time.perf_counter()
        result = function(*arguments, **keywords)
        seconds[part] += time.perf_counter() - started
        return result

    return call


def main() -> None:
    """Time the parts of some steps, and print one line for each."""
    sizes = {"n_users": 1000, "n_items": 99_000, "n_dims": 192, "learn_items": True}
    trainer = trainers("sampled", **sizes)[0][0]
    batches = trainer._batches()
    seconds: dict[str, float] = defaultdict(float)
    for name, part in PARTS.items():
        setattr(_trainer, name, timed(getattr(_trainer, name), part, seconds))
    for name, part in OF_TRAINER.items():
        setattr(trainer, name, timed(getattr(trainer, name), part, seconds))
    of_adamw = "AdamW and the average of the weights"
    trainer.optimizer.step = timed(trainer.optimizer.step, of_adamw, seconds)
    with threadpool_limits(1):
        for events in batches[:10]:
            trainer._step(events)
        seconds.clear()
        started = time.perf_counter()
        for at in range(N_STEPS):
            trainer._step(batches[at % len(batches)])
        total = time.perf_counter() - started
    seconds["everything else: rows of the step, negatives"] = total - sum(seconds.values())
    for part, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{spent / N_STEPS * 1e3:6.1f} ms  {spent / total:4.0%}  {part}")
    print(
        f"{total / N_STEPS * 1e3:6.1f} ms  100%  a step of {trainer.settings.batch_size} examples"
    )


if __name__ == "__main__":
    main()
