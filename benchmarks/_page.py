"""From the measured figures to a page and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# What each ratio should at least be; times, in the last line, at most.
BARS = [
    ("pooling, 64 dimensions", "skue, numba / EmbeddingBag, weights worked out", 1.0),
    ("pooling, 128 dimensions", "skue, numba / EmbeddingBag, weights worked out", 1.0),
    ("pooling, 64 dimensions", "skue, numba / EmbeddingBag, weights given", 1.0),
    ("pooling, 128 dimensions", "skue, numba / EmbeddingBag, weights given", 1.0),
    ("pooling, 64 dimensions", "skue, scipy / EmbeddingBag, weights worked out", 0.33),
    ("pooling, 128 dimensions", "skue, scipy / EmbeddingBag, weights worked out", 0.33),
    ("pooling, 64 dimensions", "skue, scipy / EmbeddingBag, weights given", 0.33),
    ("pooling, 128 dimensions", "skue, scipy / EmbeddingBag, weights given", 0.33),
    ("recall", "skue, numba / faiss IndexFlatIP", 1.25),
    ("recall", "skue, numba / argpartition", 4.0),
    ("recall", "skue, numba / matrix product alone", None),
    ("recall", "skue, numpy / faiss IndexFlatIP", None),
    ("training", "skue / PyTorch, full softmax, trained items", 1.0),
    ("training", "skue / PyTorch, full softmax, frozen items", 1.0),
    ("training", "skue / PyTorch, sampled softmax, trained items", 1.0),
]


def write(found: dict[str, Any], docs: Path) -> None:
    """Write the page's text and its picture."""
    lines = ["## Measured", "", *_machine(found), ""]
    rows = [(part, name, bar) for part, name, bar in BARS if name in _ratios(found, part)]
    if rows:
        lines += [
            "How many times as fast, in one run:",
            "",
            "| | ratio | at least |",
            "|---|---|---|",
        ]
        for part, name, bar in rows:
            least = "" if bar is None else f"{bar:g}"
            lines.append(f"| {part}: {name} | {_ratios(found, part)[name]:.2f} | {least} |")
        lines += ["", "![How many times as fast as its peers](../_static/speed.svg)", ""]
        _draw(found, rows, docs / "_static" / "speed.svg")
    for title, body in (
        ("One user with 50 events, microseconds", _latency(found)),
        ("A million users of 50 events, 64 dimensions, MB", _memory(found)),
        (
            "Reading a log into histories, in units of pandas reading it (at most 2)",
            _reading(found),
        ),
        ("Importing, seconds", _importing(found)),
        ("Growth: the slope of log time over log size (1 is linear)", _growth(found)),
    ):
        if body:
            lines += [f"{title}:", "", *body, ""]
    lines += ["`python benchmarks/speed.py` measures all of this again.", ""]
    (docs / "user_guide" / "_speed.md").write_text("\n".join(lines), encoding="utf-8")


def _ratios(found: dict[str, Any], part: str) -> dict[str, float]:
    return found.get(part, {}).get("ratios", {})


def _machine(found: dict[str, Any]) -> list[str]:
    machine = dict(found["machine"])
    day, cores = machine.pop("date"), machine.pop("cores")
    processor, system = machine.pop("processor"), machine.pop("system")
    versions = ", ".join(f"{name} {number}" for name, number in machine.items())
    return [f"{day}, {processor}, {cores} cores, {system}; {versions}."]


def _latency(found: dict[str, Any]) -> list[str]:
    times = found.get("latency", {}).get("microseconds", {})
    rows = [f"| {name} | {at['p50']:.0f} | {at['p99']:.0f} |" for name, at in times.items()]
    return ["| | p50 | p99 |", "|---|---|---|", *rows] if rows else []


def _memory(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, held in found.get("memory", {}).get("bytes", {}).items():
        cells = [
            held[key] / 2**20
            for key in (
                "inputs",
                "outputs",
                "peak",
                "process over inputs and outputs",
                "transform over its output",
                "anonymous",
            )
        ]
        rows.append(f"| {name} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")
    head = "| | inputs | outputs | peak of the process | over inputs and outputs | "
    head += "of which transform | not backed by a file |"
    return [head, "|---|---|---|---|---|---|---|", *rows] if rows else []


def _reading(found: dict[str, Any]) -> list[str]:
    rows = [
        f"| {name.removeprefix('time of skue / pandas, ')} | {ratio:.2f} |"
        for name, ratio in _ratios(found, "reading").items()
    ]
    return ["| log | time |", "|---|---|", *rows] if rows else []


def _importing(found: dict[str, Any]) -> list[str]:
    times = found.get("importing", {}).get("seconds", {})
    rows = [f"| `{name}` | {seconds:.2f} |" for name, seconds in times.items()]
    return ["| | seconds |", "|---|---|", *rows] if rows else []


def _growth(found: dict[str, Any]) -> list[str]:
    growth = found.get("growth", {})
    rows = []
    for name, slope in growth.get("slopes", {}).items():
        sizes = list(growth["seconds"][name])
        rows.append(f"| {name} | {int(sizes[0]):,} to {int(sizes[-1]):,} | {slope:.2f} |")
    return ["| | from, to | slope |", "|---|---|---|", *rows] if rows else []


def _draw(found: dict[str, Any], rows: list[tuple[str, str, float | None]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.34 * len(rows) + 1), layout="constrained")
    labels = [f"{part}: {name}" for part, name, _ in rows]
    values = [_ratios(found, part)[name] for part, name, _ in rows]
    axes.barh(labels, values, color="tab:blue")
    for place, (_, _, bar) in enumerate(rows):
        if bar is not None:
            axes.plot([bar, bar], [place - 0.4, place + 0.4], color="tab:red", linewidth=2)
    axes.axvline(1, color="0.6", linewidth=0.8)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.set_xlabel("times as fast (red: what is asked for)")
    figure.savefig(path)
    pyplot.close(figure)
