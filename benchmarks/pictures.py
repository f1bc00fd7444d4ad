"""Draw the pictures of measured figures in the documentation: ``python benchmarks/pictures.py``."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from _tables import PUBLISHED, speed_rows


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.style.use(Path(__file__).parents[1] / "docs" / "skue.mplstyle")
    return pyplot


def draw_speed(found: dict[str, Any], path: Path) -> None:
    """Draw the ratios, and how the time grows."""
    pyplot = _pyplot()
    rows = speed_rows(found)
    figure, (ratios, growth) = pyplot.subplots(
        1, 2, figsize=(11, 4.6), width_ratios=(3, 2), layout="constrained"
    )
    ratios.barh([name for name, _, _ in rows], [ratio for _, ratio, _ in rows], color="C0")
    for place, (_, ratio, bar) in enumerate(rows):
        ratios.text(max(ratio, bar or 0) * 1.06, place, f"{ratio:.2f}", va="center")
        if bar is not None:
            ends = [place - 0.4, place + 0.4]
            ratios.plot([bar, bar], ends, color="C8", linewidth=2.5, zorder=3)
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


def draw_quality(paths: list[str], picture: Path) -> None:
    """Draw recall@10 on amazon-beauty, published and ours."""
    pyplot = _pyplot()
    logs = [json.loads(Path(path).read_text()).get("log") for path in paths]
    runs = [
        run
        for log in logs
        if log is not None and log["log"] == "amazon-beauty.txt" and not log["ablation"]
        for run in log["runs"]
    ]
    published = [name for name, *_ in PUBLISHED]
    bars = [
        (name if published.count(name) == 1 else f"{name}: {what}", recall, "0.65")
        for name, recall, _, _, what, _ in PUBLISHED
    ]
    for name in ("best average", "two-tower"):
        found = [run["test_R"] for run in runs if run["encoder"] == name]
        if found:
            bars.append((f"skue, {name}", statistics.median(found), "C0"))
    bars.sort(key=lambda bar: bar[1])
    figure, axes = pyplot.subplots(figsize=(8, 4.4), layout="constrained")
    names, recalls, colors = zip(*bars, strict=True)
    axes.barh(names, recalls, color=colors)
    for place, recall in enumerate(recalls):
        axes.text(recall + 0.001, place, f"{recall:.4f}", va="center")
    axes.set(xlabel="recall@10, amazon-beauty, every item ranked", xlim=(0, max(recalls) * 1.16))
    figure.savefig(picture, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Draw the pictures of the pages "Speed" and "How well encoders find what comes next"."""
    here = Path(__file__).parent
    pictures = here.parent / "docs" / "_static"
    draw_speed(
        json.loads((here / "speed.json").read_text(encoding="utf-8")), pictures / "speed.svg"
    )
    draw_quality([str(here / "quality-amazon-beauty.json")], pictures / "quality.svg")


if __name__ == "__main__":
    main()
