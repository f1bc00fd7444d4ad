"""Print the scores of a report as a Markdown table, or check the table of a page.

Usage: python -m skue compare --out report && python docs/score_table.py report/scores.json
       python docs/score_table.py report/scores.json --check README.md
"""

import json
import re
import sys
from pathlib import Path


def table(scores):
    """Return the rows of the table as lines."""
    ks, best = [str(k) for k in scores["k"]], scores["best_ranker"]
    header = ["", *[f"recall@{k}" for k in ks], *[f"NDCG@{k}" for k in ks]]
    header += [f"recall@{ks[0]} against {best}", "repeated", "explore"]
    lines = [header, ["---"] * len(header)]
    for row in scores["rows"]:
        against = row["against"].get(best)
        gap = "" if against is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*against)
        figures = [row["recall"][k] for k in ks] + [row["ndcg"][k] for k in ks]
        # The file omits parts without held-out items.
        parts = [row.get("repeat"), row.get("explore")]
        cells = [_figure(value) for value in figures] + [gap] + [_figure(part) for part in parts]
        lines.append([row["name"], *cells])
    return ["| " + " | ".join(line) + " |" for line in lines]


def check(printed, page):
    """Return pairs of rows, of the page and printed, that differ."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = lines.index(printed[0])
    written = lines[start : start + len(printed)]
    return [pair for pair in zip(written, printed, strict=True) if not _agree(*pair)]


def _agree(written, printed):
    # Another BLAS rounds differently, and training amplifies the differences.
    within = 0.03 if "two-tower" in printed else 0.004
    ours, theirs = _figures(written), _figures(printed)
    same_name = written.split("|")[1] == printed.split("|")[1]
    same_length = len(ours) == len(theirs)
    return (
        same_name
        and same_length
        and all(abs(a - b) <= within for a, b in zip(ours, theirs, strict=True))
    )


def _figures(line):
    return [float(figure) for figure in re.findall(r"[-+]?\d\.\d+", line)]


def _figure(value):
    return "–" if value is None else f"{value:.3f}"


def main(path, option=None, page=None):
    """Print or check the table; return the exit status."""
    printed = table(json.loads(Path(path).read_text(encoding="utf-8")))
    if option != "--check":
        print("\n".join(printed))
        return 0
    different = check(printed, Path(page))
    for ours, theirs in different:
        print(f"{page} has\n  {ours}\nbut the command prints\n  {theirs}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
