"""Write the tables of measured figures into the pages, from the JSON files of the benchmarks.

Usage: python docs/measured_tables.py          # write them
       python docs/measured_tables.py --check  # exit with 1 if a page has other figures

A page marks the place of a table with a comment that names its kind and its files:

    <!-- table: peers benchmarks/peers-amazon-beauty.json -->
    <!-- end -->

What stands there is left as it is while one of the files is missing.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = re.compile(r"(<!-- table: (\w+) ([^>]*?) -->\n).*?(<!-- end -->)", re.S)


def pages():
    """Return the pages that have tables."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    paths = [path for path in paths if "_build" not in path.parts]
    return [path for path in paths if PLACE.search(path.read_text(encoding="utf-8"))]


def filled(text):
    """Return the text of a page with its tables."""
    return PLACE.sub(_table, text)


def _table(place):
    head, kind, names, end = place.groups()
    files = [ROOT / name for name in names.split()]
    if not all(file.exists() for file in files):
        return place.group(0)
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return f"{head}\n{KINDS[kind](*found)}\n{end}"


def peers(found):
    """Return every contender on one log."""
    best = found["best_peer"]
    head = ["", "R@10", "N@10", "R@20", f"R@10 less {best}", "fit, s", "µs a person"]
    rows = []
    for row in found["rows"]:
        gap = row.get("against the best peer")
        rows.append(
            [
                _name(row),
                *(f"{row[metric]:.4f}" for metric in ("R@10", "N@10", "R@20")),
                "" if gap is None else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*gap["R@10"]),
                f"{row['fit_cpu_seconds']:.1f}",
                f"{row['microseconds_a_person']:,.0f}",
            ]
        )
    return markdown(head, rows)


def peers_short(*logs):
    """Return R@10 and N@10 of every contender on several logs."""
    head = [""]
    for found in logs:
        name = found["log"].partition(".")[0]
        head += [f"{name} R@10", "N@10"]
    names = dict.fromkeys(_name(row) for found in logs for row in found["rows"])
    rows = []
    for name in names:
        cells = [name]
        for found in logs:
            row = next((row for row in found["rows"] if _name(row) == name), None)
            cells += ["", ""] if row is None else [f"{row[m]:.4f}" for m in ("R@10", "N@10")]
        rows.append(cells)
    return markdown(head, rows)


def speed_short(found):
    """Return how many times as fast as the usual alternative."""
    lines = [
        (
            "user vectors of 50 events each, 64 dimensions",
            "PyTorch's EmbeddingBag",
            ("pooling, 64 dimensions", "skue, numba / EmbeddingBag, weights worked out"),
        ),
        (
            "recall@20 among 50,000 items",
            "a flat faiss index",
            ("recall", "skue, numba / faiss IndexFlatIP"),
        ),
        (
            "an epoch of the two-tower encoder, 12,000 items",
            "the same loop in PyTorch",
            ("training", "skue / PyTorch, full softmax, trained items"),
        ),
    ]
    rows = [
        [what, peer, f"{found[part]['ratios'][name]:.1f}"] for what, peer, (part, name) in lines
    ]
    return markdown(["", "compared with", "times as fast"], rows)


def quality_short(*files):
    """Return R@10 / NDCG@10 on several logs, the highest recall of each in bold."""
    logs = {}
    for found in files:
        name = found["log"].partition(".")[0]
        figures = logs.setdefault(name, {})
        for row in found.get("rows", []):
            figures[row["name"]] = row["R@10"], row["N@10"]
        for line in found.get("figures", []):
            if line.get("features") == "with" and line["log"] == name:
                figures["with item features"] = line["recall"], line["ndcg"]
    rows = []
    for name, label in QUALITY_ROWS.items():
        if any(name in figures for figures in logs.values()):
            rows.append([label, *(_best_in_bold(name, figures) for figures in logs.values())])
    return markdown(["", *logs], rows)


QUALITY_ROWS = {
    "own frequency": "own frequency, then popularity",
    "similar users (UP-CF)": "similar users (UP-CF)",
    "encoder": "`TwoTowerUserEncoder`, first stage of the next row",
    "two-stage": "`TwoStageRecommender`",
    "two-stage, updated": "the same, after `update` with the newest events",
    "with item features": "`TwoTowerUserEncoder` with item features",
}


def _best_in_bold(name, figures):
    if name not in figures:
        return ""
    cell = " / ".join(f"{figure:.4f}".removeprefix("0") for figure in figures[name])
    shown = [figures[row] for row in QUALITY_ROWS if row in figures]
    return f"**{cell}**" if figures[name] == max(shown) else cell


def _name(row):
    return f"**{row['name']}**" if row["is_skue"] else row["name"]


def markdown(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


KINDS = {
    "peers": peers,
    "peers_short": peers_short,
    "quality_short": quality_short,
    "speed_short": speed_short,
}


def main(option=None):
    """Write or check the tables; return the exit status."""
    different = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            different.append(path)
            if option != "--check":
                path.write_text(filled(text), encoding="utf-8")
    for path in different:
        print(f"{path.relative_to(ROOT)}: {'differs' if option == '--check' else 'written'}")
    return 1 if different and option == "--check" else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
