"""The report folder: written whole, or not at all."""

from __future__ import annotations

import html
import os
import re
import shutil
import tempfile
from pathlib import Path

import joblib

from skue.compare._figures import curve_svg, search_svg
from skue.compare._run import Comparison
from skue.compare._text import as_json, interval, notes, what_to_ship

_MARK = "scores.json"


def check_writable(folder: Path) -> None:
    """Raise before any work is done when the folder could not be written in the end.

    Raises
    ------
    ValueError
        For a folder that holds anything but an earlier report, and for one that cannot be made.
    """
    parent = folder.resolve().parent
    if not parent.is_dir():
        raise ValueError(f"--out {folder}: there is no folder {parent}. Create it first.")
    if not os.access(parent, os.W_OK):
        raise ValueError(f"--out {folder}: {parent} cannot be written to.")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARK).is_file():
        raise ValueError(
            f"--out {folder} exists and holds no earlier report. Name a new or empty folder."
        )


def write_report(comparison: Comparison, folder: Path) -> None:
    """Write ``report.html``, ``scores.json`` and each fitted encoder as ``.joblib``."""
    folder = folder.resolve()
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        (work / _MARK).write_text(as_json(comparison) + "\n", encoding="utf-8")
        (work / "report.html").write_text(_page(comparison), encoding="utf-8")
        for name, encoder in comparison.encoders.items():
            joblib.dump(encoder, work / f"{file_name(name)}.joblib")
        work.chmod(0o755)
        _put_in_place(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def file_name(name: str) -> str:
    """Return a contender's name as it is written in file names."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _put_in_place(work: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(work, folder)
        return
    # The earlier report stays until the new one stands in its place.
    earlier = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-earlier-"))
    os.rename(folder, earlier / folder.name)
    try:
        os.rename(work, folder)
    except BaseException:
        os.rename(earlier / folder.name, folder)
        raise
    finally:
        shutil.rmtree(earlier, ignore_errors=True)


def _page(comparison: Comparison) -> str:
    figures = "".join(
        f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for svg, caption in (
            (curve_svg(comparison), "Recall against k."),
            (search_svg(comparison), "The search inside the training data: recall against decay."),
        )
        if svg
    )
    listed = "".join(f"<li>{html.escape(line)}</li>" for line in notes(comparison))
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>User vectors compared</title><style>{_STYLE}</style></head><body><main>"
        "<h1>User vectors compared</h1>"
        f"<p class='ship'>{html.escape(what_to_ship(comparison))}</p>"
        f"<h2>Scores</h2><div class='scroll'>{_scores_table(comparison)}</div>"
        f"<h2>Who is found, and what</h2><div class='scroll'>{_parts_table(comparison)}</div>"
        f"<h2>Curves</h2>{figures or '<p>Install skue[plot] for the curves.</p>'}"
        f"<h2>How to read this</h2><ul>{listed}</ul></main></body></html>\n"
    )


def _scores_table(comparison: Comparison) -> str:
    ks, ranker = comparison.ks, comparison.best_ranker
    header = ["", *[f"recall@{k}" for k in ks], *[f"ndcg@{k}" for k in ks]]
    header += [f"against {ranker}", "against plain average", "fit s", "µs a user"]
    best = max(row.recall[ks[0]] for row in comparison.rows)
    lines = []
    for row in comparison.rows:
        cells = [_cell(row.recall[k]) for k in ks] + [_cell(row.ndcg[k]) for k in ks]
        cells += [interval(row.against.get(name)) for name in (ranker, "plain average")]
        cells += [f"{row.fit_seconds:.2f}", _cell(row.microseconds_per_user, ".1f")]
        lines.append((row.name, cells, row.recall[ks[0]] == best))
    return _html_table(header, lines)


def _parts_table(comparison: Comparison) -> str:
    k = comparison.ks[0]
    header = ["", f"repeated items, recall@{k}", "new items", "warm users", "cold users"]
    lines = [
        (row.name, [_cell(v) for v in (row.repeat, row.explore, row.warm, row.cold)], False)
        for row in comparison.rows
    ]
    return _html_table(header, lines)


def _html_table(header: list[str], lines: list[tuple[str, list[str], bool]]) -> str:
    head = "".join(f"<th scope='col'>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=best' if best else ''}><th scope='row'>{html.escape(name)}</th>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, cells, best in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: float, form: str = ".3f") -> str:
    return "–" if value != value else format(value, form)


_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --ground: #fdfdfc; --line: #d9dce3;
  --strong: #0b6e4f; --soft: #eef4f1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6eb; --ground: #16181d;
  --line: #363b46; --strong: #63d2a8; --soft: #1d2a26; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.ship { background: var(--soft); border-left: 4px solid var(--strong); padding: .8rem 1rem;
  margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
tbody th, thead th:first-child { text-align: left; font-weight: 500; position: sticky; left: 0;
  background: var(--ground); }
tr.best td, tr.best th { color: var(--strong); font-weight: 600; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; max-width: 44rem; }
figcaption { font-size: .85rem; opacity: .75; }
li { margin: .3rem 0; }
"""
