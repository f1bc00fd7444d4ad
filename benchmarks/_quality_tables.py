"""Format the figures of quality.py as tables, and as a page of the documentation."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from _quality_text import ABOUT_ABLATIONS, ABOUT_PEERS, ABOUT_PUBLISHED, ABOUT_WORLDS, HEAD

# Published figures on the test items of this file: R@10, N@10, R@20, what the figure is, source.
PUBLISHED = [
    ("SASRec", 0.0605, 0.0318, None, "as reported", 1),
    ("TIGER", 0.0648, 0.0384, None, "as reported", 1),
    ("ActionPiece", 0.0775, 0.0424, None, "as reported", 1),
    ("HSTU (recalculated)", 0.0788, 0.0439, None, "as reported", 1),
    ("DuoRec", 0.0845, 0.0443, None, "as reported", 1),
    ("SASRec, sampled softmax", 0.0921, 0.0531, None, "as reported", 1),
    ("eSASRec", 0.0928, 0.0523, None, "as reported", 1),
    ("ICSRec (WSDM 2024)", 0.0959, 0.0578, 0.1298, "as reported", 2),
    ("BSARec", 0.1008, 0.0611, 0.1373, "its best log, 65 epochs on a GPU", 3),
    ("TV-Rec (NeurIPS 2025)", 0.1017, 0.0608, 0.1403, "its log", 4),
    ("TASTE (text, T5)", 0.1030, 0.0517, 0.1550, "reads titles, too", 5),
    ("WEARec (AAAI 2026)", 0.0996, 0.0595, None, "median of a grid of 88 runs", 6),
    ("WEARec (AAAI 2026)", 0.1041, 0.0614, 0.1391, "best of the 88 on test", 6),
]
SOURCES = {
    1: "blondered/transformer_benchmark, README, “Common academic benchmarks”",
    2: "the paper of ICSRec; R@20 in QinHsiu/ICSRec, performance.md",
    3: "yehjin-shin/BSARec, src/output/BSARec_Beauty_best.log",
    4: "the log in the repository of TV-Rec, arXiv:2510.25259",
    5: "NEUIR/ConsRec, the table in the README; prepared from the same reviews",
    6: "the repository of WEARec, arXiv:2511.07028, src/results_log/result_50_all.txt",
}
BESIDE = ("best average", "all parts")


def log_table(result):
    """Return the table of a log: the median (and the range over seeds) of every figure."""
    columns = ["validation_R", "validation_N", "test_R", "test_N", "fit_seconds"]
    k, runs = result["k"], result["runs"]
    titles = [f"validation R@{k}", f"validation N@{k}", f"test R@{k}", f"test N@{k}", "fit, s"]
    names = list(dict.fromkeys(run["encoder"] for run in runs))
    rows = [
        [name, *(spread([run[c] for run in runs if run["encoder"] == name]) for c in columns)]
        for name in names
    ]
    seen = ", without the items that a person has had" if result["exclude_seen"] else ""
    text = f"The last {result['by']} held out{seen}; {n_seeds(runs)}.\n\n"
    return text + table(["encoder", *titles], rows)


def published_table(result):
    """Return published figures in rising order, with those of the two-tower encoder among them."""
    runs = [run for run in result["runs"] if run["encoder"] == "two-tower"]
    rows = [
        [f"{name} [{source}]", short(r), short(n), "" if r20 is None else short(r20), what]
        for name, r, n, r20, what, source in PUBLISHED
    ]
    if runs:
        ours = [statistics.median(run[name] for run in runs) for name in ("test_R", "test_N")]
        r20 = [run["test_R20"] for run in runs if "test_R20" in run]
        what = f"defaults, median of {len(runs)} seeds"
        last = short(statistics.median(r20)) if r20 else ""
        rows.append(["**skue, `TwoTowerUserEncoder()`**", *map(short, ours), last, what])
    rows.sort(key=lambda row: row[1])
    head = ["model", "R@10", "N@10", "R@20", "the figure is"]
    notes = "".join(f"- [{number}] {source}\n" for number, source in SOURCES.items())
    return f"{table(head, rows)}\n{notes}"


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
        f"{counted(result['n_worlds'], 'world')}, {result['n_train']} people learned from, "
        f"{result['n_others']} others; {counted(result['seeds'], 'fit')} of each two-tower.\n\n"
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
    every = [json.loads(Path(path).read_text()) for path in paths]
    parts = {"logs": [], "worlds": [], "ablations": []}
    for results in every:
        made = made_by(results)
        if "log" in results:
            log = results["log"]
            kind, heading = ("ablations" if log["ablation"] else "logs"), f"### {log_name(log)}\n"
            parts[kind] += [heading, log_table(log), made]
            if kind == "logs" and log["log"] == "amazon-beauty.txt":
                parts[kind].append(ABOUT_PUBLISHED.format(table=published_table(log)))
        for world in results.get("worlds", []):
            ablation = any(row["encoder"] == "all parts" for row in world["rows"])
            kind = "ablations" if ablation else "worlds"
            parts[kind] += [f"### {world['world']}\n", world_table(world)]
        if "worlds" in results:
            parts[kind].append(made)
    sections = [HEAD, "## Logs\n", *parts["logs"], ABOUT_PEERS]
    sections += [ABOUT_WORLDS, *parts["worlds"], ABOUT_ABLATIONS, *parts["ablations"]]
    return "\n".join(sections)


def draw(paths, picture):
    """Draw recall@10 on amazon-beauty, published and ours."""
    import matplotlib

    matplotlib.use("Agg")
    # Text stays text, and the same figures give the same file.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "skue", "font.size": 9}
    from matplotlib import pyplot

    logs = [json.loads(Path(path).read_text()).get("log") for path in paths]
    runs = [
        run
        for log in logs
        if log is not None and log["log"] == "amazon-beauty.txt" and not log["ablation"]
        for run in log["runs"]
    ]
    published = [name for name, *_ in PUBLISHED]
    bars = [
        (name if published.count(name) == 1 else f"{name}: {what}", recall, "tab:gray")
        for name, recall, _, _, what, _ in PUBLISHED
    ]
    for name in ("best average", "two-tower"):
        found = [run["test_R"] for run in runs if run["encoder"] == name]
        if found:
            bars.append((f"skue, {name}", statistics.median(found), "tab:green"))
    bars.sort(key=lambda bar: bar[1])
    figure, axes = pyplot.subplots(figsize=(8, 4.4), layout="constrained")
    names, recalls, colors = zip(*bars, strict=True)
    axes.barh(names, recalls, color=colors)
    for place, recall in enumerate(recalls):
        axes.text(recall + 0.001, place, f"{recall:.4f}", va="center")
    axes.set(xlabel="recall@10, amazon-beauty, every item ranked", xlim=(0, max(recalls) * 1.12))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, metadata={"Date": None})
    pyplot.close(figure)


def made_by(results):
    """Return the command that made a table, the machine, the versions and the date."""
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    return (
        f"`python benchmarks/quality.py {results['command']}` on {results['machine']}, "
        f"{results['threads'].get('openblas', 1)} BLAS thread(s), {versions}, "
        f"{results['date']}.\n"
    )


def log_name(result):
    return result["log"].partition(".")[0]


def n_seeds(runs):
    n = len({run["seed"] for run in runs if run["seed"] is not None})
    return counted(n, "seed") + (": median (range)" if n > 1 else "")


def counted(n, what):
    return f"{n} {what}{'s'[: n != 1]}"


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
