"""The report folder: a page, the scores, and the fitted encoders."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from skue._estimator import import_optional
from skue.compare._comparison import AGE_UNITS, Comparison, half_life, milliseconds
from skue.compare._contenders import DESCRIPTIONS
from skue.compare._prediction import DESCRIPTIONS as LABEL_DESCRIPTIONS
from skue.compare._result import GENERATED, Result, counted, figure, interval
from skue.compare._run import CURVE_KS
from skue.metrics._displays import DecayCurveDisplay, RecallCurveDisplay

MARKER = "skue-report.json"
"""A file that names the files of the report. Others are never touched."""
_SCORES, _PAGE = "scores.json", "report.html"
_STAGING = ".skue-report-"
_OWN_NAME = re.compile(r"report\.html|scores\.json|[a-z0-9-]+\.joblib")
# Colours that are distinct on white and on black, also for colour-blind users
# (M. Okabe, K. Ito, 2008). Text and axes use the text colour of the page.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a5a00")
_DASHES = ((4, 2), (1, 1.5), (6, 2, 1, 2))
_INK = "#8a8f98"
# Items of a user that the page shows.
_N_SHOWN = 6
_LONGEST_TITLE = 60


def check_folder(folder: Path) -> list[str]:
    """Return the files of an earlier report in the folder; raise if no report can be written.

    Raises
    ------
    ValueError
        If the folder has files but no report, or cannot be created or written to.
    ImportError
        If the extra ``plot`` is not installed.
    """
    for module in ("jinja2", "matplotlib"):
        import_optional(module, "plot")
    if os.path.lexists(folder) and not folder.is_dir():
        raise ValueError(f"--out {folder} is not a folder. Name a folder.")
    inside = folder if folder.is_dir() else folder.absolute().parent
    try:
        tempfile.TemporaryDirectory(prefix=_STAGING, dir=inside).cleanup()
    except OSError as error:
        raise ValueError(
            f"--out {folder}: {inside} is not writable ({error.strerror}). Create it, or name "
            "another folder."
        ) from None
    present = os.listdir(folder) if folder.is_dir() else []
    if MARKER in present:
        return _marked_files(folder)
    if not all(name.startswith(_STAGING) for name in present):
        raise ValueError(
            f"--out {folder} is not empty and has no earlier report of skue ({MARKER}). Name a "
            "new or empty folder."
        )
    return []


def write_report(result: Result, folder: Path) -> None:
    """Write ``report.html``, ``scores.json``, the fitted encoders and the marker.

    All files are written to a temporary folder inside ``folder``, and moved out of it at the end.
    Until then the earlier report is unchanged.
    """
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=_STAGING, dir=folder) as staging:
            (Path(staging) / _SCORES).write_text(result.as_json() + "\n", encoding="utf-8")
            # The name of a log may have bytes that are not valid text.
            (Path(staging) / _PAGE).write_text(
                page(result), encoding="utf-8", errors="backslashreplace"
            )
            for file, encoder in result.files.items():
                joblib.dump(encoder, Path(staging) / file)
            _replace_files(Path(staging), folder)
    finally:
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _replace_files(staging: Path, folder: Path) -> None:
    earlier, new = check_folder(folder), sorted(os.listdir(staging))
    for name in new:
        if name not in earlier and os.path.lexists(folder / name):
            raise ValueError(
                f"--out {folder}: {name} was not written by skue, and the report would replace "
                "it. Move it elsewhere, or name another folder."
            )
    # If the process is killed in between, the marker names the files of both reports.
    _mark(staging, folder, sorted({*earlier, *new}))
    for name in new:
        os.replace(staging / name, folder / name)
    for name in set(earlier) - set(new):
        (folder / name).unlink(missing_ok=True)
    _mark(staging, folder, new)


def _mark(staging: Path, folder: Path, names: list[str]) -> None:
    written = json.dumps({"written by": "skue compare", "files": names}, indent=2)
    (staging / MARKER).write_text(written + "\n", encoding="utf-8")
    os.replace(staging / MARKER, folder / MARKER)


def _marked_files(folder: Path) -> list[str]:
    try:
        names = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]
        if all(_OWN_NAME.fullmatch(name) for name in names):
            return list(names)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ValueError(
        f"--out {folder}: {MARKER} is not as skue writes it, so it is not known which files belong "
        "to the report. Name a new folder."
    )


def page(result: Result) -> str:
    """Return the page as HTML. It loads nothing from elsewhere."""
    jinja2 = import_optional("jinja2", "plot")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("skue.compare", "."), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    template = environment.get_template("report.html.jinja")
    is_comparison = isinstance(result, Comparison)
    if isinstance(result, Comparison):
        parts, descriptions = _about_comparison(result), DESCRIPTIONS
    else:
        parts = {"figures": _table(result.cells(), bold=("AUC", "R²"))}
        descriptions = LABEL_DESCRIPTIONS
    described = [(row.name, descriptions[row.name]) for row in result.rows]
    return str(
        template.render(result=result, is_comparison=is_comparison, described=described, **parts)
    )


def _about_comparison(comparison: Comparison) -> dict[str, Any]:
    search = comparison.search
    return {
        "k": comparison.ks[0],
        "log": "log.csv" if comparison.about["log"] == GENERATED else comparison.about["log"],
        "bars": _bars(comparison),
        "shipped": comparison.shipped,
        "costs": _costs(comparison),
        "parts": _parts(comparison),
        "activity": _activity(comparison),
        "lists": _lists(comparison),
        "figures": _other_figures(comparison),
        "people": _people(comparison),
        "found": None if search is None else search.found,
        "half_life": "" if search is None else half_life(search.found),
        "pictures": [_recall_curves(comparison), *_search_curves(comparison)],
    }


def _bars(comparison: Comparison) -> list[dict[str, Any]]:
    """Return where the bar and the interval of each contender are drawn, in per cent."""
    k, ranker = comparison.ks[0], comparison.best_ranker
    reference = comparison.row(ranker).recall[k]
    gaps = [row.against.get(ranker) for row in comparison.rows]
    recalls = [row.recall[k] for row in comparison.rows]
    ends = [reference + gap[2] for gap in gaps if gap is not None]
    scale = 100 / (np.nanmax([*recalls, *ends]) or 1.0)
    bars = []
    for row, recall, gap in zip(comparison.rows, recalls, gaps, strict=True):
        bar = {
            "row": row,
            "recall": recall,
            "best": recall == max(recalls),
            "width": scale * recall,
        }
        if gap is not None and not np.isnan(gap[1]):
            # A recall cannot be below 0.
            left, right = (max(0.0, scale * (reference + end)) for end in gap[1:])
            bar |= {"gap": interval(gap), "left": left, "length": right - left}
        bars.append(bar | {"reference": scale * reference})
    return bars


def _costs(comparison: Comparison) -> dict[str, Any]:
    rows = comparison.rows
    # The second stage has the vectors of its encoder.
    recommenders = {each.name for each in comparison.contenders if each.kind == "recommender"}
    columns = {
        "": [row.name for row in rows],
        "to learn, s": [f"{row.fit_seconds:.2f}" for row in rows],
        "a vector, µs": [
            "-" if row.name in recommenders else figure(row.microseconds_per_user, ".1f")
            for row in rows
        ],
        f"{comparison.ks[0]} items, ms": [milliseconds(row) for row in rows],
    }
    return _table(columns)


def _parts(comparison: Comparison) -> dict[str, Any]:
    """Return the recall by kind of item and user, without kinds that all or none belong to."""
    rows, shares = comparison.rows, comparison.shares
    columns = {"": [row.name for row in rows]}
    if 0 < shares["repeat"] < 1:
        columns[f"had before ({shares['repeat']:.0%})"] = [figure(row.repeat) for row in rows]
        columns[f"new to them ({1 - shares['repeat']:.0%})"] = [figure(row.explore) for row in rows]
    if 0 < shares["cold"] < 1:
        columns[f"known users ({1 - shares['cold']:.0%})"] = [figure(row.warm) for row in rows]
        columns[f"cold users ({shares['cold']:.0%})"] = [figure(row.cold) for row in rows]
    return _table(columns, bold=("had", "new", "known", "cold"))


def _activity(comparison: Comparison) -> dict[str, Any]:
    """Return the recall of users with short, medium and long histories.

    There are no columns if all histories are equally long.
    """
    lengths = comparison.split.queries.lengths
    lows = np.unique(np.quantile(lengths, [0, 0.25, 0.5, 0.75], method="lower")).tolist()
    columns = {"": [row.name for row in comparison.rows]}
    for low, high in itertools.pairwise([*lows, int(lengths.max()) + 1]):
        are_in = (lengths >= low) & (lengths < high)
        if are_in.all():
            break
        events = f"{low} to {high - 1} events" if low < high - 1 else counted(low, "event")
        header = f"{events} ({are_in.mean():.0%})"
        per_user = comparison.per_user
        columns[header] = [figure(per_user[row.name][are_in].mean()) for row in comparison.rows]
    return _table(columns, bold=("",))


def _people(comparison: Comparison) -> dict[str, Any]:
    """Return a few users: their newest items, what they would get, and what they chose next."""
    shipped = comparison.shipped
    queries, held_out = comparison.split.queries, comparison.split.held_out
    file = comparison.feature_file
    titles = {} if file is None else file.titles
    people = []
    for at, found in zip(comparison.examples.tolist(), comparison.lists[shipped], strict=True):
        history, next_items = queries[at : at + 1], np.atleast_1d(held_out[at]).tolist()
        newest = history.item_ids[history.codes[::-1][:_N_SHOWN]]
        people.append(
            {
                "n_events": counted(len(history.codes), "event"),
                "newest": [_shown(item, titles) for item in newest.tolist()],
                "best": [
                    (_shown(item, titles), item in next_items) for item in found[:_N_SHOWN].tolist()
                ],
                "next": [(_shown(item, titles), item in found) for item in next_items[:_N_SHOWN]],
            }
        )
    return {"name": shipped, "shown": people, "n_most": _N_SHOWN}


def _shown(item: Any, titles: dict[Any, str]) -> str:
    text = titles.get(item, str(item))
    return text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 3]}..."


def _lists(comparison: Comparison) -> dict[str, Any]:
    rows = comparison.rows
    columns = {
        "": [row.name for row in rows],
        "coverage": [figure(row.coverage) for row in rows],
        "novelty, bits": [figure(row.novelty, ".2f") for row in rows],
        "similarity": [figure(row.similarity) for row in rows],
    }
    return _table(columns)


def _other_figures(comparison: Comparison) -> dict[str, Any]:
    """Return the quality at other k and by other metrics, beside what the bars show."""
    columns, first = comparison.cells(), comparison.ks[0]
    shown = {
        "": columns[""],
        **{
            header: cells
            for header, cells in columns.items()
            if header.startswith(("recall@", "ndcg@")) and header != f"recall@{first}"
        },
        f"MAP@{first}": [figure(row.average_precision) for row in comparison.rows],
        "against plain average": columns["against plain average"],
    }
    return _table(shown, bold=("recall", "ndcg", "MAP"))


def _table(columns: dict[str, list[str]], bold: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the header and the lines of a table: names, and cells with whether they are bold.

    Bold are the largest figures, as they are shown, of columns that start with these words.
    """
    names = columns.pop("")
    filled = {header: cells for header, cells in columns.items() if set(cells) != {"-"}}
    best = {
        header: max(cells, key=lambda cell: -1.0 if cell == "-" else float(cell))
        for header, cells in filled.items()
        if header.startswith(bold)
    }
    lines = [
        (name, [(cells[at], cells[at] == best.get(header)) for header, cells in filled.items()])
        for at, name in enumerate(names)
    ]
    return {"header": list(filled), "lines": lines}


def _recall_curves(comparison: Comparison) -> dict[str, str]:
    """Return a plot of recall against k for every contender."""
    drawing, axes = _axes()
    n_drawn = {True: 0, False: 0}
    for row in comparison.rows:
        at = n_drawn[row.is_encoder]
        n_drawn[row.is_encoder] += 1
        style: dict[str, Any] = {"color": _COLOURS[at % len(_COLOURS)]}
        if not row.is_encoder:
            style = {"color": _INK, "dashes": _DASHES[at % len(_DASHES)], "marker": ""}
        recalls = [row.curve[k] for k in CURVE_KS]
        RecallCurveDisplay(CURVE_KS, recalls, name=row.name).plot(axes, **style)
    caption = (
        "Recall among the first k items, for each k: the higher, the better. Dashed: rankers "
        "without vectors."
    )
    return {"svg": _svg(drawing, axes), "caption": caption}


def _search_curves(comparison: Comparison) -> list[dict[str, str]]:
    """Return plots of recall against decay, one for each age unit."""
    pictures = []
    trials = [] if comparison.search is None else comparison.search.trials
    for unit in dict.fromkeys(trial["age_unit"] for trial in trials):
        drawing, axes = _axes()
        curves: dict[float, list[tuple[float, float]]] = {}
        for trial in trials:
            if trial["age_unit"] == unit:
                point = (trial["decay"], trial["recall"])
                curves.setdefault(trial["repeat_exponent"], []).append(point)
        for (exponent, points), colour in zip(curves.items(), _COLOURS, strict=False):
            decays, recalls = zip(*sorted(points), strict=True)
            display = DecayCurveDisplay(
                list(decays),
                [[recall] for recall in recalls],
                score_name=f"Recall@{comparison.ks[0]}",
                name=f"repeat exponent {exponent:g}",
            )
            display.plot(axes, color=colour)
        axes.set_xlabel(f"decay, age in {AGE_UNITS[unit]}")
        caption = (
            f"The search for a decay, with ages in {AGE_UNITS[unit]}. On the left, all events "
            "count alike; further to the right, the newest ones count more."
        )
        pictures.append({"svg": _svg(drawing, axes), "caption": caption})
    return pictures


def _axes() -> tuple[Any, Any]:
    # Small, so that the text stays readable on a phone.
    drawing = import_optional("matplotlib.figure", "plot").Figure((4.5, 4.2), layout="constrained")
    return drawing, drawing.add_subplot()


def _svg(drawing: Any, axes: Any) -> str:
    axes.grid(alpha=0.25)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    axes.tick_params(which="both", colors=_INK)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.get_legend().remove()
    drawing.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False, labelcolor=_INK)
    written = io.StringIO()
    matplotlib = import_optional("matplotlib", "plot")
    # Text stays text, so that it can be searched and read aloud, and has the font of the page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "skue"}):
        drawing.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    return text.replace(_INK, "currentColor")
