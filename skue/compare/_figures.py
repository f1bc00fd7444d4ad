"""The report's pictures, as SVG that a page can hold."""

from __future__ import annotations

import io
from typing import Any

from skue._optional import import_optional
from skue.compare._run import CURVE_KS, Comparison

# Grey that can be read on white and on black.
_GREY = "#8a8f98"


def curve_svg(comparison: Comparison) -> str:
    """Return recall against k for every contender, or "" without matplotlib."""
    figure, axes = _axes()
    if figure is None:
        return ""
    for row in comparison.rows:
        style = "-" if row.is_encoder else "--"
        recalls = [row.curve[k] for k in CURVE_KS]
        axes.plot(CURVE_KS, recalls, style, label=row.name, marker="o", ms=3)
    axes.set_xscale("log")
    axes.set_xticks(CURVE_KS, [str(k) for k in CURVE_KS])
    axes.minorticks_off()
    axes.set_xlabel("k")
    axes.set_ylabel("recall@k")
    return _svg(figure, axes)


def search_svg(comparison: Comparison) -> str:
    """Return recall against decay for every age unit and repeat exponent, or ""."""
    figure, axes = _axes()
    if figure is None:
        return ""
    groups: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for trial in comparison.trials:
        key = (trial["age_unit"], trial["repeat_exponent"])
        groups.setdefault(key, []).append((trial["decay"], trial["recall"]))
    for (unit, exponent), points in sorted(groups.items()):
        points.sort()
        label = f"age in {unit}, repeat exponent {exponent:g}"
        style = "--" if unit == "D" else "-"
        axes.plot(*zip(*points, strict=True), style, label=label, marker="o", ms=3)
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_xlabel("decay")
    axes.set_ylabel(f"recall@{comparison.ks[0]} inside the training data")
    return _svg(figure, axes)


def _axes() -> tuple[Any, Any]:
    try:
        Figure = import_optional("matplotlib.figure", "plot").Figure
    except ImportError:
        return None, None
    figure = Figure(figsize=(7, 4), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Any, axes: Any) -> str:
    axes.grid(alpha=0.25)
    for spine in axes.spines.values():
        spine.set_color(_GREY)
    axes.tick_params(colors=_GREY)
    axes.xaxis.label.set_color(_GREY)
    axes.yaxis.label.set_color(_GREY)
    axes.legend(fontsize="small", frameon=False, labelcolor=_GREY)
    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]
