"""Trace the calls of journeys through skue: files, functions, and changes of file.

``python benchmarks/journeys.py`` prints one line a journey. A change of file is a call of a
function of skue that lies in another file than the function called just before it, in the same
thread. ``--package FOLDER`` traces another checkout of skue, to compare a change before and after.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Trace:
    """What a call of a function passes through, inside one package."""

    def __init__(self, package: Path) -> None:
        self.package = str(package) + "/"
        self.functions: set[tuple[str, str]] = set()
        self.entries: Counter[str] = Counter()
        self.last = threading.local()

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        """Note one call: what ``sys.setprofile`` asks for."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(self.package):
            return
        file = code.co_filename.removeprefix(self.package)
        self.functions.add((file, code.co_qualname))
        if getattr(self.last, "file", file) != file:
            self.entries[file] += 1
        self.last.file = file

    def of(self, journey: Callable[[], Any]) -> Trace:
        """Trace one call."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            journey()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return self

    def __str__(self) -> str:
        files = {file for file, _ in self.functions}
        return (
            f"{len(files)} files, {len(self.functions)} functions, "
            f"{self.entries.total()} changes of file"
        )


def journeys(folder: Path) -> dict[str, Callable[[], Any]]:
    """Return what is traced, by name."""
    import numpy as np

    import skue

    rng = np.random.default_rng(0)
    log = folder / "log.csv"
    lines = [
        f"{user},{rng.integers(60)},2026-01-{day:02d}" for user in range(300) for day in range(1, 9)
    ]
    log.write_text("user_id,item_id,timestamp\n" + "\n".join(lines) + "\n")
    lists = [rng.integers(60, size=8).tolist() for _ in range(300)]
    average = skue.DecayAverageUserEncoder().fit(lists)
    two_tower = skue.TwoTowerUserEncoder(max_iter=1, random_state=0)
    skue.TwoTowerUserEncoder(max_iter=1, random_state=0).fit(lists)  # what is imported on use
    histories = skue.Histories.from_lists(lists)
    two_stage = skue.TwoStageRecommender(skue.DecayAverageUserEncoder(), random_state=0)
    two_stage.fit(histories).recommend(histories[:3], k=5)
    skue.export_index(average, folder / "index")
    retriever = skue.Retriever(skue.UserVectorCache(average), skue.open_index(folder / "index"))

    def recommend() -> None:
        retriever.recommend(["1"], k=5, load=lambda users: [lists[int(user)] for user in users])

    recommend()
    return {
        "load_interactions of a CSV": lambda: skue.load_interactions(log),
        "DecayAverageUserEncoder.transform of lists": lambda: average.transform(lists),
        "TwoTowerUserEncoder.fit of lists, one epoch": lambda: two_tower.fit(lists),
        "TwoStageRecommender.fit and recommend": lambda: two_stage.fit(histories).recommend(
            histories[:3], k=5
        ),
        "Retriever.recommend": recommend,
    }


def main() -> None:
    """Print the journeys."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--files", action="store_true", help="also print how often each is entered")
    options = parser.parse_args()
    sys.path.insert(0, str(options.package))
    with tempfile.TemporaryDirectory() as folder:
        for name, journey in journeys(Path(folder)).items():
            trace = Trace(options.package.resolve() / "skue").of(journey)
            print(f"{name}: {trace}")
            if options.files:
                for file, n_entries in trace.entries.most_common():
                    print(f"    {n_entries:6d}  {file}")


if __name__ == "__main__":
    main()
