"""The report's page: one file that asks for nothing from elsewhere."""

from __future__ import annotations

import platform
from html import escape

import numpy as np
import sklearn

import skue
from skue.compare._figures import curve_svg, search_svgs
from skue.compare._run import Comparison, Row
from skue.compare._text import half_life, interval, notes, what_to_ship
from skue.kernels._segments import kept_offsets


def page(comparison: Comparison, files: dict[str, str]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    comparison : Comparison
    files : dict
        Name of each encoder's file.
    """
    k = comparison.ks[0]
    title = "Which user vectors to ship"
    task = comparison.task
    lead = (
        f"{len(task.queries):,} users, {len(comparison.items):,} items, "
        f"{len(task.train.codes):,} training events."
    )
    return "".join(
        [
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f"<title>{title}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>{title}</h1><p>{lead}</p>",
            f"<p class='ship'>{escape(what_to_ship(comparison))}</p>",
            f"<h2>Recall@{k}</h2>",
            f"<p>Share of held-out items among the {k} nearest, and the difference from "
            f"<em>{escape(comparison.best_ranker)}</em>, the best ranker without vectors, with its "
            "95&nbsp;% interval.</p>",
            _bars(comparison),
            "<h2>Who is found, and what</h2>",
            _parts(comparison),
            "<h2>Recall against k</h2>",
            _figure(curve_svg(comparison), "Dashed: rankers that need no vectors."),
            "<h2>The search for a decay</h2>",
            _search(comparison),
            "<h2>All figures</h2>",
            f"<div class='scroll'>{_all_figures(comparison)}</div>",
            "<h2>How to read this</h2><ul>",
            *[f"<li>{escape(line)}</li>" for line in notes(comparison)],
            "</ul>",
            _use(files),
            f"<footer>skue {skue.__version__}, scikit-learn {sklearn.__version__}, "
            f"numpy {np.__version__}, Python {platform.python_version()}</footer>",
            "</main></body></html>\n",
        ]
    )


def _bars(comparison: Comparison) -> str:
    k = comparison.ks[0]
    largest = max(row.recall[k] for row in comparison.rows) or 1.0
    lines = []
    for row in comparison.rows:
        kind = "encoder" if row.is_encoder else "ranker"
        best = " best" if row.recall[k] == largest else ""
        gap = interval(row.against.get(comparison.best_ranker))
        lines.append(
            f"<li class='{kind}{best}'><span class='name'>{escape(row.name)}</span>"
            f"<span class='gap'>{gap if gap != '-' else ''}</span>"
            f"<span class='bar'><i style='width:{100 * row.recall[k] / largest:.1f}%'></i></span>"
            f"<b>{row.recall[k]:.3f}</b></li>"
        )
    return f"<ol class='bars'>{''.join(lines)}</ol>"


def _parts(comparison: Comparison) -> str:
    known = comparison.items.rows_of(comparison.task.queries) >= 0
    cold_share = np.mean(np.diff(kept_offsets(comparison.task.queries.offsets, known)) == 0)
    shares = [comparison.repeat_share, 1 - comparison.repeat_share, 1 - cold_share, cold_share]
    names = ["repeated items", "new items", "warm users", "cold users"]
    header = ["", *[f"{name} ({share:.0%})" for name, share in zip(names, shares, strict=True)]]
    lines = [
        (row, [_cell(v) for v in (row.repeat, row.explore, row.warm, row.cold)])
        for row in comparison.rows
    ]
    return (
        f"<p>Recall@{comparison.ks[0]} of items that the history already holds and of those that "
        "are new to the user; of users with a known event and of those without. In brackets: their "
        f"share.</p><div class='scroll'>{_table(header, lines, narrow=True)}</div>"
    )


def _search(comparison: Comparison) -> str:
    found = next(row.parameters for row in comparison.rows if row.parameters)
    pictures = [
        _figure(svg, "Each point holds out once more, inside the training data.")
        for svg in search_svgs(comparison).values()
    ]
    chosen = (
        f"<p>Chosen: decay <b>{found['decay']:g}</b>, repeat exponent "
        f"<b>{found['repeat_exponent']:g}</b>, age in {escape(repr(found['age_unit']))}: "
        f"{escape(half_life(found))}.</p>"
    )
    if not comparison.trials:
        return f"<p>No history is long enough to hold out twice.</p>{chosen}"
    return chosen + ("".join(pictures) or _figure("", ""))


def _all_figures(comparison: Comparison) -> str:
    ks, ranker = comparison.ks, comparison.best_ranker
    header = ["", *[f"recall@{k}" for k in ks], *[f"ndcg@{k}" for k in ks]]
    header += [f"against {ranker}", "against plain average", "fit, s", "µs a user"]
    lines = []
    for row in comparison.rows:
        cells = [_cell(row.recall[k]) for k in ks] + [_cell(row.ndcg[k]) for k in ks]
        cells += [interval(row.against.get(name)) for name in (ranker, "plain average")]
        cells += [f"{row.fit_seconds:.2f}", _cell(row.microseconds_per_user, ".1f")]
        lines.append((row, cells))
    return _table(header, lines)


def _use(files: dict[str, str]) -> str:
    if not files:
        return ""
    listed = ", ".join(f"<code>{escape(name)}</code>" for name in files.values())
    first = escape(next(reversed(files.values())))
    return (
        f"<h2>Use them</h2><p>Beside this page lie the fitted encoders: {listed}. Load only files "
        "that you trust: joblib runs what they say.</p>"
        f'<pre>import joblib\nencoder = joblib.load("{first}")\n'
        "vectors = encoder.transform(histories)\n"
        "ids, scores = encoder.recommend(histories, k=20)</pre>"
    )


def _table(header: list[str], lines: list[tuple[Row, list[str]]], *, narrow: bool = False) -> str:
    head = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr><th scope='row'>{escape(row.name)}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for row, cells in lines
    )
    kind = " class='narrow'" if narrow else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _figure(svg: str, caption: str) -> str:
    if not svg:
        return "<p>Install skue[plot] for the picture.</p>"
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _cell(value: float, form: str = ".3f") -> str:
    return "–" if value != value else format(value, form)


_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --faint: #5b6272; --ground: #fdfdfc;
  --line: #d9dce3; --strong: #0b6e4f; --bar: #53a98c; --ranker: #a3a9b5; --soft: #eef4f1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6eb; --faint: #a2a9b8;
  --ground: #16181d; --line: #363b46; --strong: #63d2a8; --bar: #2f8c6c; --ranker: #6d7482;
  --soft: #1d2a26; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { margin: .4rem 0 .8rem; }
.ship { background: var(--soft); border-left: 4px solid var(--strong); padding: .8rem 1rem;
  font-size: 1.05rem; margin: 1rem 0; }
.bars { list-style: none; margin: 0; padding: 0; font-variant-numeric: tabular-nums; }
.bars li { display: flex; flex-wrap: wrap; align-items: center; padding: .35rem 0; }
.bars .name { flex: 1 1 auto; }
.bars .gap { color: var(--faint); font-size: .82rem; text-align: right; padding-left: .6rem; }
.bars .bar { flex: 0 0 calc(100% - 3.6rem); height: .7rem; }
.bars .bar i { display: block; height: 100%; min-width: 2px; background: var(--bar);
  border-radius: 2px; }
.bars .ranker i { background: var(--ranker); }
.bars .best .name, .bars .best b { color: var(--strong); font-weight: 600; }
.bars b { flex: 0 0 3.6rem; font-weight: 500; text-align: right; }
@media (min-width: 40rem) { .bars li { display: grid;
  grid-template-columns: 13rem 1fr 3.6rem 13rem; }
  .bars .bar { grid-column: 2; grid-row: 1; } .bars b { grid-column: 3; grid-row: 1; }
  .bars .gap { grid-column: 4; grid-row: 1; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
thead th { vertical-align: bottom; font-weight: 600; }
table.narrow { width: 100%; } table.narrow th { white-space: normal; }
tbody th, thead th:first-child { text-align: left; font-weight: 500; position: sticky; left: 0;
  background: var(--ground); }
@media (max-width: 40rem) { th, td { padding: .35rem .35rem; } }
figure { margin: .8rem 0 1.2rem; color: var(--faint); }
figure svg { width: 100%; height: auto; max-width: 34rem; }
figure svg text { font-family: inherit !important; }
figcaption, footer { font-size: .85rem; color: var(--faint); }
pre { background: var(--soft); padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; }
li { margin: .3rem 0; } footer { margin-top: 2.5rem; border-top: 1px solid var(--line);
  padding-top: .6rem; }
"""
