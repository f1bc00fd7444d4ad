"""Format the figures of quality.py as tables, and as a page of the documentation."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

# Published R@10 and N@10 on the test items of this file.
PUBLISHED = [
    ("SASRec", 0.0605, 0.0318, 1),
    ("TIGER", 0.0648, 0.0384, 1),
    ("HSTU (recalculated)", 0.0788, 0.0439, 1),
    ("ActionPiece", 0.0775, 0.0424, 1),
    ("DuoRec", 0.0845, 0.0443, 1),
    ("SASRec, sampled softmax", 0.0921, 0.0531, 1),
    ("eSASRec", 0.0928, 0.0523, 1),
    ("BSARec, 65 epochs on a GPU", 0.1008, 0.0611, 2),
]
SOURCES = {
    1: "blondered/transformer_benchmark, README, “Common academic benchmarks”",
    2: "yehjin-shin/BSARec, src/output/BSARec_Beauty_best.log",
}
BESIDE = ("best average", "all parts")
HEAD = """\
# How well encoders find what comes next

Made by `python benchmarks/quality.py --page` from the figures of the commands named below the
tables. On a log, each user's last event (with times, the last instant) is the test target, and
the one before it is the validation target. Everything, including item vectors, is learned from
the rest. The whole catalogue is ranked, and recall is hits / min(k, held out). The best average
is the best of 72 decays and repeat exponents, and of 128 or 256 dimensions, on validation. The
two-tower encoder has its defaults.
"""
ABOUT_WORLDS = """\
In the generated worlds ({func}`skue.datasets.make_user_histories`), the item vectors are given and
frozen. Encoders learn from the first 21 events of some people. For other people, they predict the
21st event from the 20 before it. After the 16th event, tastes move by 0.4 of their own size
("steady") or by their full size ("fast"). In "fast-shared", they move after the 17th event by
twice their size, and people with the same taste move in the same direction, for example from prams
to toys. An average cannot learn this. The best average is the best of 72 decays and repeat
exponents on the people learned from. Differences are paired by user over all worlds, with 95 %
bootstrap intervals.
"""


def log_table(result):
    """Return the table of a log: the median (and the range over seeds) of every figure."""
    columns = ["validation_R", "validation_N", "test_R", "test_N", "fit_seconds"]
    k, runs = result["k"], result["runs"]
    titles = [f"validation R@{k}", f"N@{k}", f"test R@{k}", f"N@{k}", "fit, s"]
    names = list(dict.fromkeys(run["encoder"] for run in runs))
    rows = [
        [name, *(spread([run[c] for run in runs if run["encoder"] == name]) for c in columns)]
        for name in names
    ]
    if result["log"] == "amazon-beauty.txt" and not result["ablation"]:
        rows += [[f"{n} [{s}]", "", "", short(r), short(g), ""] for n, r, g, s in PUBLISHED]
    seen = ", without the items that a user has had" if result["exclude_seen"] else ""
    text = f"{result['log']}: the last {result['by']} held out{seen}; {n_seeds(runs)}.\n\n"
    text += table(["encoder", *titles], rows)
    if result["log"] == "amazon-beauty.txt" and not result["ablation"]:
        text += "\n" + "\n".join(f"[{number}] {source}." for number, source in SOURCES.items())
        text += "\n"
    return text


def world_table(result):
    """Return the table of one kind of world: recalls, and differences paired by user."""
    rows = result["rows"]
    beside = [base for base in BESIDE if any(f"less {base}" in row for row in rows)]
    head = ["encoder", "recall@20", "recall@50", "fit, s"]
    head += [f"recall@20 less {base}" for base in beside]
    head += [f"recall@50 less {base}" for base in beside[:1]]
    lines = []
    for row in rows:
        line = [row["encoder"], spread(row["recall@20"]), spread(row["recall@50"])]
        line.append(short(statistics.median(row["fit_seconds"])))
        line += [interval(row, base, "20") for base in beside]
        line += [interval(row, base, "50") for base in beside[:1]]
        lines.append(line)
    return (
        f"{result['world']}: {result['n_worlds']} worlds, {result['n_train']} people learned "
        f"from, {result['n_others']} others; {result['seeds']} fits of each two-tower.\n\n"
    ) + table(head, lines)


def interval(row, base, k):
    """Return a paired difference with its 95 % interval."""
    difference = row.get(f"less {base}", {}).get(k)
    if difference is None:
        return ""
    low, high = difference["interval"]
    return f"{difference['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"


def page(paths):
    """Return the page of the documentation for the figures of several runs."""
    parts = [HEAD]
    every = [json.loads(Path(path).read_text()) for path in paths]
    if any("worlds" in results for results in every):
        parts.append(ABOUT_WORLDS)
    for results in every:
        if "log" in results:
            parts.append(log_table(results["log"]))
        parts += [world_table(result) for result in results.get("worlds", [])]
        versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
        parts.append(
            f"`python benchmarks/quality.py {results['command']}` on {results['machine']}, "
            f"{results['threads'].get('openblas', 1)} BLAS thread(s), {versions}, "
            f"{results['date']}.\n"
        )
    return "\n".join(parts)


def n_seeds(runs):
    n = len({run["seed"] for run in runs if run["seed"] is not None})
    return f"{n} seed{'s'[: n != 1]}: median (range)"


def spread(values):
    """Return the median and, for several values, the range."""
    text = short(statistics.median(values))
    if len(values) > 1:
        text += f" ({short(min(values))}–{short(max(values))})"
    return text


def short(value):
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.1f}"


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
