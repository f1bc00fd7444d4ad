"""The pictures of the report, as SVG."""

from __future__ import annotations

import io
import re
from typing import Any

from skue._estimator import import_optional
from skue.compare._run import CURVE_KS, Comparison
from skue.compare._text import AGE_UNITS
from skue.metrics._displays import DecayCurveDisplay, RecallCurveDisplay

# Colours that are distinct on white and on black, also for colour-blind people
# (M. Okabe, K. Ito, 2008). Text and axes use the text colour of the page.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
_DASHES = ((4, 2), (1, 1.5), (6, 2, 1, 2))
_INK = "#8a8f98"


def curve_svg(comparison: Comparison) -> str:
    """Return a plot of recall against k for every contender, or "" without matplotlib."""
    figure, axes = _axes()
    if figure is None:
        return ""
    n_drawn = {True: 0, False: 0}
    for row in comparison.rows:
        at = n_drawn[row.is_encoder]
        n_drawn[row.is_encoder] += 1
        style: dict[str, Any] = {"color": _COLOURS[at % len(_COLOURS)]}
        if not row.is_encoder:
            style = {"color": _INK, "dashes": _DASHES[at % len(_DASHES)], "marker": ""}
        recalls = [row.curve[k] for k in CURVE_KS]
        RecallCurveDisplay(CURVE_KS, recalls, name=row.name).plot(axes, **style)
    return _svg(figure, axes)


def search_svgs(comparison: Comparison) -> dict[str, str]:
    """Return plots of recall against decay by age unit, or {} without matplotlib."""
    pictures = {}
    for unit in dict.fromkeys(trial["age_unit"] for trial in comparison.search.trials):
        figure, axes = _axes()
        if figure is None:
            return {}
        curves: dict[float, list[tuple[float, float]]] = {}
        for trial in comparison.search.trials:
            if trial["age_unit"] == unit:
                point = (trial["decay"], trial["recall"])
                curves.setdefault(trial["repeat_exponent"], []).append(point)
        for (exponent, points), colour in zip(curves.items(), _COLOURS, strict=False):
            points.sort()
            display = DecayCurveDisplay(
                [decay for decay, _ in points],
                [[recall] for _, recall in points],
                score_name=f"Recall@{comparison.ks[0]}",
                name=f"repeat exponent {exponent:g}",
            )
            display.plot(axes, color=colour)
        axes.set_xlabel(f"decay, age in {AGE_UNITS[unit]}")
        pictures[unit] = _svg(figure, axes)
    return pictures


def _axes() -> tuple[Any, Any]:
    try:
        Figure = import_optional("matplotlib.figure", "plot").Figure
    except ImportError:
        return None, None
    # Small, so that the text stays readable on a phone.
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Any, axes: Any) -> str:
    axes.grid(alpha=0.25)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    axes.tick_params(which="both", colors=_INK)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.get_legend().remove()
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False, labelcolor=_INK)
    written = io.StringIO()
    matplotlib = import_optional("matplotlib", "plot")
    # Text stays text, so that it can be searched and read aloud, and has the font of the page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "skue"}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    return text.replace(_INK, "currentColor")
