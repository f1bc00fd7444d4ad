"""Write the table of the page "Past one machine" from figures of ``scale.py --out``.

python benchmarks/_scale_page.py scale.json [more.json ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "user_guide" / "past_one_machine.md"
START, END = "<!-- scale table -->\n", "<!-- end of scale table -->"
NAMES = [
    "events",
    "users",
    "items",
    "contender",
    "fit",
    "peak_over_imports",
    "examples_seen",
    "recall@20",
]


def table(rows: list[dict]) -> str:
    """Return one line for each size and contender."""
    names = [name.replace("_", " ") for name in NAMES]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in sorted(rows, key=lambda row: row["n_events"]):
        seen = row.get("n_examples_seen")
        cells = [
            f"{row['n_events']:,}",
            f"{row['n_users']:,}",
            f"{row['n_items']:,}",
            row["contender"],
            f"{row['fit_seconds']:.0f} s",
            f"{row['peak_over_imports_gb']:.1f} GB",
            "" if seen is None else f"{seen:,}",
            f"{row['recall@20']:.3f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def with_table(page: str, rows: list[dict]) -> str:
    """Return the page with the table in its place."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return before + START + table(rows) + END + after


def main() -> None:
    """Read the files of figures, and write the page."""
    rows = [row for path in sys.argv[1:] for row in json.loads(Path(path).read_text())["rows"]]
    if not rows:
        raise SystemExit("Give the files that scale.py --out wrote.")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
