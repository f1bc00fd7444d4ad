"""Print the scores of a report as a Markdown table.

Usage: python -m skue compare --out report && python docs/score_table.py report/scores.json
"""

import json
import sys
from pathlib import Path


def table(scores):
    """Return the rows of the table as lines."""
    ks, best = [str(k) for k in scores["k"]], scores["best_ranker"]
    header = ["", *[f"recall@{k}" for k in ks], *[f"NDCG@{k}" for k in ks]]
    header += [f"recall@{ks[0]} against {best}", "repeated", "new"]
    lines = [header, ["---"] * len(header)]
    for row in scores["rows"]:
        against = row["against"].get(best)
        gap = "" if against is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*against)
        figures = [row["recall"][k] for k in ks] + [row["ndcg"][k] for k in ks]
        # A part that no held-out item belongs to is not in the file.
        parts = [row.get("repeat"), row.get("explore")]
        cells = [_figure(value) for value in figures] + [gap] + [_figure(part) for part in parts]
        lines.append([row["name"], *cells])
    return ["| " + " | ".join(line) + " |" for line in lines]


def _figure(value):
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    print("\n".join(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
