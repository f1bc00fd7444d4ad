"""The tables of measured figures: from the JSON that a benchmark wrote to Markdown.

Each function takes the content of one or more files, and returns a table. The functions in
``KINDS`` are those that a page can name in a marker; see ``docs/measured_tables.py``.
"""

from __future__ import annotations

import statistics
from typing import Any

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
    ("TIGER (RecBoard)", 0.0704, 0.0388, 0.0965, "mean of 5 seeds, best epoch on validation", 7),
    ("HSTU (RecBoard)", 0.0948, 0.0541, 0.1325, "mean of 5 seeds, last epoch", 7),
    ("BSARec (RecBoard)", 0.1004, 0.0609, 0.1358, "mean of 5 seeds, last epoch", 7),
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
    7: "MTandHJ/RecBoard, benchmark/Amazon2014Beauty_550_LOU/*.json: the higher of two means, "
    "after the last epoch (`test`) and at the best epoch on validation (`best`). The other one is "
    ".1002/.0610 for BSARec, .0945/.0543 for HSTU, and .0602/.0338 for TIGER with PQ-KMeans, "
    "one of several tokenizers",
}


BESIDE = ("best average", "all parts")
# The lowest acceptable value of each ratio.
BARS = [
    ("pooling, 64 dimensions", "skue, numba / EmbeddingBag, weights given", 1.0),
    ("pooling, 128 dimensions", "skue, numba / EmbeddingBag, weights given", 1.0),
    ("pooling, 64 dimensions", "skue, numba / EmbeddingBag, weights computed", 1.0),
    ("pooling, 128 dimensions", "skue, numba / EmbeddingBag, weights computed", 1.0),
    ("pooling, 64 dimensions", "skue, scipy / EmbeddingBag, weights given", 0.33),
    ("pooling, 128 dimensions", "skue, scipy / EmbeddingBag, weights given", 0.33),
    ("recall", "skue, numba / faiss IndexFlatIP", 1.25),
    ("recall", "skue, numpy / faiss IndexFlatIP", 1.25),
    ("recall", "skue, numba / argpartition", 4.0),
    ("recall", "skue, numpy / argpartition", 4.0),
    ("recall", "skue, numba / matrix product alone", None),
    ("training", "skue / PyTorch, full softmax, trained items", 1.0),
    ("training", "skue / PyTorch, full softmax, frozen items", 1.0),
    ("training", "skue / PyTorch, sampled softmax, trained items", 1.0),
]


def log_table(results):
    """Return the figures of one log: the median (and the range over seeds) of each."""
    result = results["log"] if isinstance(results["log"], dict) else results
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


def quality_log(results):
    """Return the figures of one log, and the command that measured them."""
    return log_table(results) + "\n" + made_by(results)


def quality_worlds(*files):
    """Return the figures of generated worlds, a heading each, and the command of each file."""
    parts = []
    for results in files:
        for world in results["worlds"]:
            parts += [f"### {world['world']}\n", world_table(world)]
        parts.append(made_by(results))
    return "\n".join(parts)


def published_table(results):
    """Return published figures in rising order, with those of the two-tower encoder among them."""
    runs = [run for run in results["log"]["runs"] if run["encoder"] == "two-tower"]
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
    return signed(difference["mean"], *difference["interval"])


def signed(mean, low, high):
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"


def made_by(results):
    """Return the command that made a table, the machine, the versions and the date."""
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    return (
        f"`python benchmarks/quality.py {results['command']}` on {results['machine']}, "
        f"{results['threads'].get('openblas', 1)} BLAS thread(s), {versions}, "
        f"{results['date']}.\n"
    )


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


def speed_rows(found: dict[str, Any]) -> list[tuple[str, float, float | None]]:
    """Return each comparison, its ratio, and the lowest acceptable ratio."""
    return [(f"{part}: {name}", found[part]["ratios"][name], bar) for part, name, bar in BARS]


def speed_machine(found: dict[str, Any]) -> str:
    """Return the machine and the versions of a run."""
    machine = dict(found["machine"])
    first = [machine.pop(name) for name in ("date", "processor", "cores", "system")]
    versions = ", ".join(f"{name} {number}" for name, number in machine.items())
    day, processor, cores, system = first
    return f"Measured on {day}: {processor}, {cores} cores, {system}; {versions}."


def speed_ratios(found: dict[str, Any]) -> str:
    """Return how many times as fast each part is."""
    rows = [
        [name, f"{ratio:.2f}", "" if bar is None else f"{bar:g}"]
        for name, ratio, bar in speed_rows(found)
    ]
    return table(["", "times as fast", "at least"], rows)


def speed_latency(found: dict[str, Any]) -> str:
    """Return the time of one user."""
    times = found["latency"]["microseconds"]
    rows = [[name, f"{at['p50']:.0f}", f"{at['p99']:.0f}"] for name, at in times.items()]
    return table(["", "p50", "p99"], rows)


def speed_memory(found: dict[str, Any]) -> str:
    """Return the memory of encoding."""
    columns = {
        "input": "inputs",
        "output": "outputs",
        "peak": "peak",
        "over input and output": "over inputs and outputs",
        "libraries": "libraries",
        "of these scikit-learn": "scikit-learn",
        "over all of these": "over libraries too",
        "not backed by a file": "anonymous",
    }
    rows = [
        [name, *(f"{held[key] / 1e6:,.0f}" for key in columns.values())]
        for name, held in found["memory"]["bytes"].items()
    ]
    return table(["", *columns], rows)


def speed_reading(found: dict[str, Any]) -> str:
    """Return the time of reading, relative to pandas and pyarrow."""
    ratios = found["reading"]["ratios"]
    logs = dict.fromkeys(name.partition(", ")[2] for name in ratios)
    peers = dict.fromkeys(name.partition(", ")[0].rpartition(" ")[2] for name in ratios)
    rows = [
        [log, *(f"{ratios[f'time of skue / {peer}, {log}']:.2f}" for peer in peers)] for log in logs
    ]
    return table(["log", *(f"times as long as {peer}" for peer in peers)], rows)


def speed_importing(found: dict[str, Any]) -> str:
    """Return the time of imports."""
    times = found["importing"]["seconds"]
    return table(["", "seconds"], [[f"`{name}`", f"{took:.2f}"] for name, took in times.items()])


def speed_growth(found: dict[str, Any]) -> str:
    """Return how the time grows with each size."""
    growth = found["growth"]
    rows = []
    for name, slope in growth["slopes"].items():
        sizes = [f"{int(size):,}" for size in growth["seconds"][name]]
        rows.append([name, sizes[0], sizes[-1], f"{slope:.2f}"])
    return table(["", "from", "to", "slope"], rows)


SCALE_COLUMNS = [
    "events",
    "users",
    "items",
    "contender",
    "fit",
    "peak over imports",
    "examples seen",
    "recall@20",
]


def scale(*files):
    """Return one line for each size and contender."""
    rows = []
    for row in sorted((row for file in files for row in file["rows"]), key=_n_events):
        seen = row.get("n_examples_seen")
        rows.append(
            [
                f"{row['n_events']:,}",
                f"{row['n_users']:,}",
                f"{row['n_items']:,}",
                row["contender"],
                f"{row['fit_seconds']:.0f} s",
                f"{row['peak_over_imports_gb']:.1f} GB",
                "" if seen is None else f"{seen:,}",
                f"{row['recall@20']:.3f}",
            ]
        )
    return table(SCALE_COLUMNS, rows)


def _n_events(row):
    return row["n_events"]


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
                "" if gap is None else signed(*gap["R@10"]),
                f"{row['fit_cpu_seconds']:.1f}",
                f"{row['microseconds_a_person']:,.0f}",
            ]
        )
    return table(head, rows)


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
    return table(head, rows)


BOTH_OF_SKUE = ("skue, two-tower", "skue, two-stage")


def logs(*files):
    """Return a row for each log: the best peer, and both recommenders of skue beside it."""
    head = ["", "people", "items", "events", "best peer", "its R@10", "two-tower", "two-stage"]
    head += ["two-stage less best peer", "fit, CPU s: peer, two-tower, two-stage"]
    rows = []
    for found in files:
        by_name = {row["name"]: row for row in found["rows"]}
        chosen = [by_name[name] for name in (found["best_peer"], *BOTH_OF_SKUE)]
        recalls = [row["R@10"] for row in chosen]
        gap = chosen[-1]["against the best peer"]["R@10"]
        rows.append(
            [
                found["log"].partition(".")[0],
                *(f"{found[n]:,}" for n in ("n_people", "n_items", "n_learned_from")),
                found["best_peer"],
                *(f"**{r:.4f}**" if r == max(recalls) else f"{r:.4f}" for r in recalls),
                signed(*gap),
                ", ".join(f"{row['fit_cpu_seconds']:.1f}" for row in chosen),
            ]
        )
    return table(head, rows)


def profiles(found):
    """Return what the vectors of every contender say about people, alone and beside statistics."""
    rows = {}
    for log in found["logs"].values():
        for way in ("alone", "beside"):
            ranks = _mean_ranks(log, way)
            for row in log:
                if way in row:
                    places = rows.setdefault(row["name"], {}).setdefault(f"ranks {way}", [])
                    places += ranks[row["name"]]
        base = next(row for row in log if row["name"] == found["base"])
        for row in log:
            cells = rows[row["name"]]
            cells |= {task: f"{value:.3f}" for task, value in row["alone"].items()}
            cells |= {f"{t}, beside": f"{v:.3f}" for t, v in row.get("beside", {}).items()}
            if "look-alikes" in row:
                cells["look-alikes"] = f"{row['look-alikes']:.3f}"
            times = row["fit_cpu_seconds"] / base["fit_cpu_seconds"]
            cells.setdefault("times", []).append(times)
    tasks = [task for log in found["logs"].values() for task in log[0]["alone"]]
    parts = []
    for way, suffix in (("alone", ""), ("beside", ", beside")):
        extra = ["look-alikes"] if way == "alone" and "look-alikes" in rows[found["base"]] else []
        names = [name for name in rows if f"ranks {way}" in rows[name]]
        names.sort(key=lambda name: statistics.mean(rows[name][f"ranks {way}"]))
        lines = [
            [
                name,
                *(rows[name].get(f"{task}{suffix}", "") for task in tasks),
                *(rows[name][column] for column in extra),
                f"{statistics.mean(rows[name][f'ranks {way}']):.1f}",
                f"{statistics.median(rows[name]['times']):.1f}",
            ]
            for name in names
        ]
        title = "Alone:" if way == "alone" else "Beside `HistoryStatistics`:"
        head = ["", *tasks, *extra, "mean rank", f"time / {found['base']}"]
        parts.append(f"{title}\n\n{table(head, lines)}")
    return "\n".join(parts)


def profiles_short(found):
    """Return the means of demographics, and churn and spend beside statistics."""
    names = {
        "HistoryStatistics": "`HistoryStatistics`",
        "TF-IDF, L2": "TF-IDF of the items",
        found["base"]: "`TruncatedSVD(64)` of TF-IDF",
        "average": "`DecayAverageUserEncoder`, which finds the next item",
        "profile": "`ProfileUserEncoder`",
        "profile with item features": "`ProfileUserEncoder` with item features",
    }
    lines = []
    for name, shown in names.items():
        cells = [shown]
        for log, way in (
            ("Complete Journey", "alone"),
            ("ml-100k", "alone"),
            ("online retail", "beside"),
        ):
            row = next((row for row in found["logs"][log] if row["name"] == name), {})
            values = dict(row.get(way, row.get("alone", {})))
            values.pop("redeems coupons", None)
            if way == "alone":
                cells.append(f"{statistics.mean(values.values()):.3f}" if values else "")
            else:
                cells += [f"{value:.3f}" for value in values.values()] or ["", ""]
        lines.append(cells)
    head = [
        "",
        "groceries: four demographics, mean",
        "films: gender, age, occupation, mean",
        "shop: churn, beside statistics",
        "spend, beside statistics",
    ]
    return table(head, lines)


def _mean_ranks(log, way):
    """Return the ranks of each contender over the tasks of a log, 1 for the best."""
    rows = [row for row in log if way in row]
    ranks = {row["name"]: [] for row in rows}
    for task in rows[0][way]:
        ordered = sorted(rows, key=lambda row: -row[way][task])
        for place, row in enumerate(ordered, 1):
            ranks[row["name"]].append(place)
    return ranks


def speed_short(found):
    """Return how many times as fast as the usual alternative."""
    lines = [
        (
            "user vectors of 50 events each, 64 dimensions",
            "PyTorch's EmbeddingBag",
            ("pooling, 64 dimensions", "skue, numba / EmbeddingBag, weights computed"),
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
    return table(["", "compared with", "times as fast"], rows)


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
    return table(["", *logs], rows)


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


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def shop_day(found):
    """Return what a server answered while its version changed twice, and the times of the jobs."""
    status, vectors = found["status"], found["vectors"]
    n_answers = sum(status.values())
    rows = [
        ["requests; failed", f"{found['requests']:,}; {found['failed']}"],
        ["of these, reports of events", f"{found['requests'] - n_answers:,}"],
        ["a recommendation: p50, p99", f"{found['p50_ms']:.1f}, {found['p99_ms']:.1f} ms"],
        ["answers of each version", ", ".join(f"{n:,}" for n in found["versions"].values())],
        *([f"vectors {name}", f"{n / n_answers:.1%}"] for name, n in sorted(status.items())),
        ["first night", f"{found['first_night_seconds']:.0f} s"],
        ["second night, under load", f"{found['second_night_seconds']:.0f} s"],
        [f"vectors of {vectors['users']:,} users to Parquet", f"{vectors['seconds']:.0f} s"],
        ["size of the file", f"{vectors['file_mb']:,.0f} MB"],
    ]
    shop = f"{found['users']:,} users and {found['items']:,} items, {found['cpus']} cores"
    return table([shop, ""], rows)


# The rows of benchmarks/protocol.py, and the numbers of their sources.
PROTOCOL_ROWS = {
    "as everywhere in this documentation": "",
    "100 sampled negatives": "[1]",
    "100 negatives sampled by popularity": "[2]",
    "items of the history not left out": "[3]",
    "items of the history left out, repeats in the test are misses": "[4]",
    "the settings that are best on test": "[5] [6]",
    "only the last five events of the history": "[7]",
    "ties count as hits": "[8]",
    "scores in bfloat16": "[9]",
    "scores in bfloat16, ties count as hits": "[8] [9]",
    "the last event held out, not the last basket": "[10]",
    "item vectors learned from the validation event, too": "",
    "item vectors that know the test events": "[11]",
    "histories cut by a graph without the test item": "",
    "log cut by a graph with the test item in it": "[12]",
    "only people whose test item that graph keeps": "",
}
PROTOCOL_SOURCES = {
    1: "pmixer/SASRec.pytorch, python/utils.py, `evaluate`: the held-out item and 100 uniform ones "
    "that are not in the history, for at most 10,000 people",
    2: "FeiSun/BERT4Rec, run.py: 100 negatives by popularity, the default of `use_pop_random`",
    3: "RecBole 1.2.1, recbole/data/dataloader/general_dataloader.py: `FullSortEvalDataLoader` "
    "returns no history for sequential models, so nothing is masked",
    4: "implicit 0.7.3, `ranking_metrics_at_k`: items of the training matrix are left out",
    5: "WEARec (xhy963319431/WEARec): src/results_log/result_50_all.txt has the test scores of 88 "
    "runs, and the one that src/output keeps has the highest R@10 of them",
    6: "pmixer/SASRec.pytorch, python/main.py: a model is saved if it is the best so far on "
    "validation *or on test*",
    7: "graytowne/caser_pytorch, train_caser.py: `--L`, the events that are read, is 5",
    8: "TensorFlow, `tf.math.in_top_k`: of classes that tie at the boundary, all are in the top k. "
    "In [1] and [2], the held-out item is the first of the list that `argsort` orders",
    9: "facebookresearch/generative-recommenders (HSTU), research/trainer/train.py: with "
    "`main_module_bf16`, the evaluation is in bfloat16",
    10: "RecBole 1.2.1, recbole/data/dataset/dataset.py, `leave_one_out`: single rows of the log",
    11: "P5 (jeykigung/P5), preprocess/data_preprocess_amazon.ipynb, `id_map`: items are numbered "
    "along whole histories, and the model reads the numbers as text, so that they tell which items "
    "follow one another, the test item included. The script beside it shuffles the numbers, and "
    "OpenP5 (agiresearch/OpenP5, src/utils/indexing.py) numbers without the last two events",
    12: "ConsRec, later LISRec (NEUIR/ConsRec, arXiv:2505.22130), src/build_graph.py: the graph of "
    "a person has all their items, and what is outside its largest component is dropped from the "
    "log, before RecBole splits it",
}


def protocol(found):
    """Return how the figures of one model move with the protocol, a heading for each log."""
    parts = []
    for log in found["logs"]:
        first, rows = log["rows"][0], []
        for row in log["rows"]:
            times = [f"{row[name] / first[name]:.2f}" for name in ("R@10", "N@10")]
            figures = [f"{row[name]:.4f}" for name in ("R@10", "N@10")]
            people = f"{row['n_people']:,}"
            rows.append([row["name"], *figures, *times, people, PROTOCOL_ROWS.get(row["name"], "")])
        head = ["", "R@10", "N@10", "× R@10", "× N@10", "people", "who does it"]
        settings = ", ".join(f"{name} {value}" for name, value in log["settings"].items())
        parts += [
            f"### {log['log']}\n",
            f"{settings}, the best of {log['n_grid']} on validation.\n",
        ]
        parts.append(table(head, rows))
    notes = "".join(f"- [{number}] {source}\n" for number, source in PROTOCOL_SOURCES.items())
    return "\n".join([*parts, notes])


def people(result):
    """Return what people bought, beside what is recommended; what they bought next in bold."""
    rows = []
    for person in result["people"]:
        shown = [
            f"**{item['title']}**" if item["bought"] else item["title"]
            for place, item in enumerate(person["recommended"])
            if place < 4 or item["bought"]
        ]
        rows.append([", ".join(person["newest"]), ", ".join(shown)])
    note = (
        "\nThe first four of ten recommendations, and the others that are on the next invoice. "
        f"What is on it is bold. Of {result['n_people']:,} people with 5 to 30 purchases, "
        f"{result['share_found']:.0%} find at least one of their {result['k']} there.\n"
    )
    return table(["newest purchases", "recommended"], rows).replace("---:", "---") + note


KINDS = {
    "logs": logs,
    "people": people,
    "peers": peers,
    "peers_short": peers_short,
    "profiles": profiles,
    "profiles_short": profiles_short,
    "protocol": protocol,
    "published": published_table,
    "quality_log": quality_log,
    "quality_short": quality_short,
    "quality_worlds": quality_worlds,
    "scale": scale,
    "shop_day": shop_day,
    "speed_growth": speed_growth,
    "speed_importing": speed_importing,
    "speed_latency": speed_latency,
    "speed_machine": speed_machine,
    "speed_memory": speed_memory,
    "speed_ratios": speed_ratios,
    "speed_reading": speed_reading,
    "speed_short": speed_short,
}
