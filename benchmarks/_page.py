"""From the measured figures to a page and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# The lowest acceptable value of each ratio.
BARS = [
    ("pooling, 64 dimensions", "skue, numba / EmbeddingBag, weights given", 1.0),
    ("pooling, 128 dimensions", "skue, numba / EmbeddingBag, weights given", 1.0),
    ("pooling, 64 dimensions", "skue, numba / EmbeddingBag, weights worked out", 1.0),
    ("pooling, 128 dimensions", "skue, numba / EmbeddingBag, weights worked out", 1.0),
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

PAGE = """# Speed

![Speed relative to the alternatives, and growth of the time](../_static/speed.svg)

With the extra `fast`, averages are encoded {pooling:.1f} times as fast as by PyTorch's
`EmbeddingBag` at 64 dimensions (the table has other sizes), recall is counted
{recall:.1f} times as fast as by a flat faiss index, and an epoch of the two-tower encoder is
{training:.1f} times as fast as the same loop in PyTorch. One user takes about
{latency:.0f} microseconds as a row of `Histories`. The time of `transform` and
`recall_at_k` grows no faster than linearly with the number of users, events, items or
dimensions.

- [How many times as fast](#how-many-times-as-fast): pooling, recall and training
- [One user](#one-user): the latency of a request
- [Memory](#memory)
- [Reading](#reading) a log
- [Importing](#importing)
- [Growth](#growth) with each size

`python benchmarks/speed.py` runs all comparisons and writes this page and `benchmarks/speed.json`;
`--only` with the names below the sections runs a part. `python -m pip install -e ".[bench]"`
installs the alternatives. The public log is read from the folder in the environment variable
`SKUE_DATA`. Contenders take turns in the same run, and figures are medians of at least five
rounds. Seconds depend on the machine; ratios less so, but they differ between processors. {machine}

## How many times as fast

*Times as fast* is the time of the alternative divided by that of skue: above 1, skue is faster.
*At least* is the ratio to reach; not every processor reaches all of them.

{ratios}

**Pooling** is `DecayAverageUserEncoder.transform` on 100,000 users with 50 events each and 50,000
items, from item codes to unit vectors. `EmbeddingBag` starts from the same codes and also returns
unit vectors. With *weights given*, computing the event weights is not included in its time. With
*weights worked out*, it is. *numba* is with the extra `fast`, *scipy* without. **Recall** is
`recall_at_k` of 20,000 users among 50,000 items with 64 dimensions, with exact ties. *Matrix
product alone* computes the same scores in the same threads and discards them. **Training** is an
epoch of `TwoTowerUserEncoder` on 200 users with 128 dimensions. The full softmax has 12,000
items, the sampled one 99,000. The losses of both loops agree.

`python benchmarks/speed.py --only pooling recall training`

## One user

`transform` of one user with 50 events, warm, in microseconds: the median (p50, at most 100) and the
time that one call in a hundred exceeds (p99).

{latency_table}

`python benchmarks/speed.py --only latency`

## Memory

Encoding users with 50 events each to 64 dimensions, in MB of 10⁶ bytes. The process should need at
most 256 MB in addition to its input and output. Nearly all of the additional memory is libraries:
scikit-learn, which imports pandas if it is installed, and numba, which loads LLVM. *Over all of
these* is what skue needs beyond input, output and libraries. *Mapped* is `iter_transform` from a
memory-mapped file to a memory-mapped output. The system can reclaim the pages of mapped files; the
last column is the memory that it cannot reclaim.

{memory}

`python benchmarks/speed.py --only memory`

## Reading

The time of `load_interactions`, relative to `pandas.read_csv` and `pyarrow.csv.read_csv`, which
read the same columns, ids as text and times as dates. Neither of them sorts events or numbers
users. Below 1, skue is faster.

{reading}

`python benchmarks/speed.py --only reading`

## Importing

Seconds of a new process.

{importing}

`python benchmarks/speed.py --only importing`

## Growth

One size grows tenfold and all others stay the same. The slope is that of a line through log time
against log size; 1 is linear. A slope below 1 means that part of the time is fixed, such as the
time per user whatever the number of events, or the set-up of a matrix product. `transform` hardly
depends on the number of items.

{growth}

`python benchmarks/speed.py --only growth`
"""


def write(found: dict[str, Any], docs: Path) -> None:
    """Write the page and its picture."""
    _draw(found, docs / "_static" / "speed.svg")
    page = PAGE.format(
        pooling=_ratio(found, "pooling, 64 dimensions", "EmbeddingBag, weights worked out"),
        recall=_ratio(found, "recall", "faiss IndexFlatIP"),
        training=found["training"]["ratios"]["skue / PyTorch, full softmax, trained items"],
        latency=found["latency"]["microseconds"]["one row of Histories, numba"]["p50"],
        machine=_machine(found),
        ratios=_ratios(found),
        latency_table=_latency(found),
        memory=_memory(found),
        reading=_reading(found),
        importing=_importing(found),
        growth=_growth(found),
    )
    (docs / "user_guide" / "speed.md").write_text(page, encoding="utf-8")


def _ratio(found: dict[str, Any], part: str, peer: str) -> float:
    return float(found[part]["ratios"][f"skue, numba / {peer}"])


def _rows(found: dict[str, Any]) -> list[tuple[str, float, float | None]]:
    """Return each comparison, its ratio, and the lowest acceptable ratio."""
    return [(f"{part}: {name}", found[part]["ratios"][name], bar) for part, name, bar in BARS]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine(found: dict[str, Any]) -> str:
    machine = dict(found["machine"])
    first = [machine.pop(name) for name in ("date", "processor", "cores", "system")]
    versions = ", ".join(f"{name} {number}" for name, number in machine.items())
    day, processor, cores, system = first
    return f"Measured on {day}: {processor}, {cores} cores, {system}; {versions}."


def _ratios(found: dict[str, Any]) -> str:
    rows = [
        [name, f"{ratio:.2f}", "" if bar is None else f"{bar:g}"]
        for name, ratio, bar in _rows(found)
    ]
    return _table(["", "times as fast", "at least"], rows)


def _latency(found: dict[str, Any]) -> str:
    times = found["latency"]["microseconds"]
    rows = [[name, f"{at['p50']:.0f}", f"{at['p99']:.0f}"] for name, at in times.items()]
    return _table(["", "p50", "p99"], rows)


def _memory(found: dict[str, Any]) -> str:
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
    return _table(["", *columns], rows)


def _reading(found: dict[str, Any]) -> str:
    ratios = found["reading"]["ratios"]
    logs = dict.fromkeys(name.partition(", ")[2] for name in ratios)
    peers = dict.fromkeys(name.partition(", ")[0].rpartition(" ")[2] for name in ratios)
    rows = [
        [log, *(f"{ratios[f'time of skue / {peer}, {log}']:.2f}" for peer in peers)] for log in logs
    ]
    return _table(["log", *(f"times as long as {peer}" for peer in peers)], rows)


def _importing(found: dict[str, Any]) -> str:
    times = found["importing"]["seconds"]
    return _table(["", "seconds"], [[f"`{name}`", f"{took:.2f}"] for name, took in times.items()])


def _growth(found: dict[str, Any]) -> str:
    growth = found["growth"]
    rows = []
    for name, slope in growth["slopes"].items():
        sizes = [f"{int(size):,}" for size in growth["seconds"][name]]
        rows.append([name, sizes[0], sizes[-1], f"{slope:.2f}"])
    return _table(["", "from", "to", "slope"], rows)


def _draw(found: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    # Text stays text, and the same figures give the same file.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "skue", "font.size": 9}
    from matplotlib import pyplot

    rows = _rows(found)
    figure, (ratios, growth) = pyplot.subplots(
        1, 2, figsize=(11, 4.6), width_ratios=(3, 2), layout="constrained"
    )
    ratios.barh([name for name, _, _ in rows], [ratio for _, ratio, _ in rows], color="tab:blue")
    for place, (_, ratio, bar) in enumerate(rows):
        ratios.text(ratio * 1.04, place, f"{ratio:.2f}", va="center")
        if bar is not None:
            ends = [place - 0.4, place + 0.4]
            ratios.plot([bar, bar], ends, color="tab:red", linewidth=2.5, zorder=3)
    ratios.set(xscale="log", xlabel="times as fast (red: at least)")
    ratios.set_xlim(right=ratios.get_xlim()[1] * 1.6)
    ratios.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["1/4", "1/2", "1", "2", "4", "8"], minor=False)
    ratios.minorticks_off()
    ratios.axvline(1, color="0.6", linewidth=0.8)
    ratios.invert_yaxis()
    for name, seconds in found["growth"]["seconds"].items():
        sizes = [float(size) for size in seconds]
        times = list(seconds.values())
        style = "-" if name.startswith("transform") else "--"
        growth.plot(
            [size / sizes[0] for size in sizes],
            [took / times[0] for took in times],
            style,
            marker=".",
            label=name,
        )
    growth.plot([1, 10], [1, 10], color="0.6", linewidth=0.8)
    growth.set(xscale="log", yscale="log", xlabel="times the size", ylabel="times the time")
    growth.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    growth.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    growth.minorticks_off()
    growth.legend(frameon=False, fontsize=7.5)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
