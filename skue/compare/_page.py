"""The page of the report: one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from skue._estimator import way_to
from skue.compare._figures import curve_svg, search_svgs
from skue.compare._run import Comparison, Row
from skue.compare._text import AGE_UNITS, half_life, interval, notes, what_to_ship
from skue.kernels._arrays import kept_offsets


def page(comparison: Comparison, files: dict[str, str]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    comparison : Comparison
    files : dict
        File name of each encoder.
    """
    k = comparison.ks[0]
    title = "Which user vectors to ship"
    return "".join(
        [
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f"<title>{title}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>{title}</h1>",
            _origin(comparison),
            f"<p class='ship'>{escape(what_to_ship(comparison))}</p>",
            _facts(comparison),
            f"<h2>Recall@{k}</h2>",
            f"<p>Share of held-out items among the {k} nearest, and the difference from "
            f"<em>{escape(comparison.best_ranker)}</em> (the vertical line), the best ranker "
            "without vectors. The horizontal line is the 95&nbsp;% interval of the difference. If "
            "it crosses the vertical line, the two do not differ significantly.</p>",
            _bars(comparison),
            "<h2>By kind of item and user</h2>",
            _parts(comparison),
            "<h2>Beyond accuracy</h2>",
            _lists(comparison),
            "<h2>Recall against k, and the search for a decay</h2>",
            _pictures(comparison),
            "<h2>All figures</h2>",
            f"<div class='scroll'>{_all_figures(comparison)}</div>",
            "<h2>How to read this</h2><ul>",
            *[f"<li>{escape(line)}</li>" for line in notes(comparison)],
            "</ul>",
            _use(files),
            f"<footer>{escape(_versions(comparison))}</footer>",
            "</main></body></html>\n",
        ]
    )


def _origin(comparison: Comparison) -> str:
    """Return the log, its period, the command and the date."""
    about = comparison.about
    period = f", {' to '.join(dict.fromkeys(about.period))}" if about.period else ""
    return (
        f"<p class='origin'><b>{escape(about.log)}</b>{escape(period)}: {about.n_users:,} users, "
        f"{about.n_events:,} events. Compared on {escape(about.date)} by "
        f"<code>{escape(about.command)}</code></p>"
    )


def _versions(comparison: Comparison) -> str:
    return ", ".join(f"{name} {v}" for name, v in comparison.about.versions.items())


def _facts(comparison: Comparison) -> str:
    task = comparison.task
    facts = {
        "users scored": f"{len(task.queries):,}",
        "items": f"{len(comparison.items):,}",
        "training events": f"{len(task.train.codes):,}",
        "of held-out items were in the history": f"{comparison.repeat_share:.0%}",
        "are not in the catalogue": f"{comparison.unknown_share:.1%}",
    }
    return (
        "<ul class='facts'>"
        + "".join(f"<li><b>{value}</b> {name}</li>" for name, value in facts.items())
        + "</ul>"
    )


def _bars(comparison: Comparison) -> str:
    k, ranker = comparison.ks[0], comparison.best_ranker
    reference = next(row.recall[k] for row in comparison.rows if row.name == ranker)
    gaps = {row.name: row.against.get(ranker) for row in comparison.rows}
    ends = [reference + gap[2] for gap in gaps.values() if gap is not None]
    largest = max([*(row.recall[k] for row in comparison.rows), *ends]) or 1.0
    most = max(row.recall[k] for row in comparison.rows)
    lines = []
    for row in comparison.rows:
        kind = "encoder" if row.is_encoder else "ranker"
        best = " best" if row.recall[k] == most else ""
        gap = gaps[row.name]
        drawn = f"<i style='width:{100 * row.recall[k] / largest:.1f}%'></i>"
        drawn += f"<s style='left:{100 * reference / largest:.1f}%'></s>"
        if gap is not None:
            # A recall cannot be below 0.
            left = max(0.0, reference + gap[1])
            width = max(0.0, reference + gap[2] - left)
            drawn += (
                f"<u style='left:{100 * left / largest:.1f}%;"
                f"width:{100 * width / largest:.1f}%'></u>"
            )
        lines.append(
            f"<li class='{kind}{best}'><span class='name'>{escape(row.name)}</span>"
            f"<span class='gap'>{'' if gap is None else interval(gap)}</span>"
            f"<span class='bar'>{drawn}</span><b>{row.recall[k]:.3f}</b></li>"
        )
    return f"<ol class='bars'>{''.join(lines)}</ol>"


def _parts(comparison: Comparison) -> str:
    known = comparison.items.rows_of(comparison.task.queries) >= 0
    cold_share = np.mean(np.diff(kept_offsets(comparison.task.queries.offsets, known)) == 0)
    shares = [comparison.repeat_share, 1 - comparison.repeat_share, 1 - cold_share, cold_share]
    parts = {"repeat": "repeated items", "explore": "new items"}
    parts |= {"warm": "warm users", "cold": "cold users"}
    columns = {
        f"{name} ({share:.0%})": [getattr(row, part) for row in comparison.rows]
        for (part, name), share in zip(parts.items(), shares, strict=True)
    }
    filled = {name: values for name, values in columns.items() if not np.isnan(values).all()}
    header = ["", *filled]
    lines = _emphasised(
        (row, list(cells))
        for row, cells in zip(comparison.rows, zip(*filled.values(), strict=True), strict=True)
    )
    return (
        f"<p>Recall@{comparison.ks[0]} for items that are in the history and items that are new "
        "to the user, and for users with and without a known event. Their shares are in "
        "parentheses. The best of each column is bold.</p>"
        f"<div class='scroll'>{_table(header, lines, narrow=True)}</div>"
    )


def _lists(comparison: Comparison) -> str:
    columns = ["average_precision", "coverage", "novelty", "similarity"]
    header = ["", "MAP", "catalogue coverage", "novelty, bits", "intra-list similarity"]
    lines = [
        (
            row,
            [_cell(getattr(row, name), ".2f" if name == "novelty" else ".3f") for name in columns],
        )
        for row in comparison.rows
    ]
    return (
        f"<p>The first {comparison.ks[0]} items of all users. <em>MAP</em> is the mean average "
        "precision of the held-out items. <em>Coverage</em> is the share of the catalogue that is "
        "listed for anybody, <em>novelty</em> the mean self-information of the listed items (one "
        "bit more: half as many users have the item), and <em>intra-list similarity</em> the mean "
        "cosine of two items of a list. None of the last three is good or bad by itself.</p>"
        f"<div class='scroll'>{_table(header, lines, narrow=True)}</div>"
    )


def _pictures(comparison: Comparison) -> str:
    found = next(row.parameters for row in comparison.rows if row.parameters)
    searched = (
        "The search held out events once more, inside the training data. Chosen"
        if comparison.search.trials
        else "No history is long enough to hold out twice, so the decay was not searched. Used"
    )
    chosen = (
        f"<p>{searched}: decay <b>{found['decay']:g}</b>, repeat exponent "
        f"<b>{found['repeat_exponent']:g}</b>, age in {escape(repr(found['age_unit']))}: "
        f"{escape(half_life(found))}.</p>"
    )
    curve = curve_svg(comparison)
    if not curve:
        return f"{chosen}<p>Pictures need matplotlib. {escape(way_to('plot'))}</p>"
    figures = [_figure(curve, "Recall against k. Dashed: rankers without vectors.")]
    figures += [
        _figure(svg, f"Recall against decay, with ages in {AGE_UNITS[unit]}.")
        for unit, svg in search_svgs(comparison).items()
    ]
    return f"<div class='pictures'>{''.join(figures)}</div>{chosen}"


def _all_figures(comparison: Comparison) -> str:
    ks, ranker = comparison.ks, comparison.best_ranker
    header = ["", *[f"recall@{k}" for k in ks], *[f"ndcg@{k}" for k in ks]]
    header += [f"against {ranker}", "against plain average", "fit, s", "µs a user"]
    best = _emphasised(
        (row, [row.recall[k] for k in ks] + [row.ndcg[k] for k in ks]) for row in comparison.rows
    )
    lines = []
    for row, cells in best:
        gaps = [interval(row.against.get(name)) for name in (ranker, "plain average")]
        times = [f"{row.fit_seconds:.2f}", _cell(row.microseconds_per_user, ".1f")]
        lines.append((row, [*cells, *gaps, *times]))
    return _table(header, lines)


def _use(files: dict[str, str]) -> str:
    if not files:
        return ""
    listed = ", ".join(f"<code>{escape(name)}</code>" for name in files.values())
    first = escape(next(reversed(files.values())))
    return (
        f"<h2>Using the encoders</h2><p>The fitted encoders are next to this page: {listed}. Load "
        "only files that you trust, as joblib can run code from them.</p>"
        f'<pre>import joblib\nencoder = joblib.load("{first}")\n'
        "vectors = encoder.transform(histories)\n"
        "ids, scores = encoder.recommend(histories, k=20)</pre>"
    )


def _table(header: list[str], lines: list[tuple[Row, list[str]]], *, narrow: bool = False) -> str:
    head = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr><th scope='row'>{escape(row.name)}</th>"
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for row, cells in lines
    )
    kind = " class='narrow'" if narrow else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _emphasised(lines: Iterable[tuple[Row, list[float]]]) -> list[tuple[Row, list[str]]]:
    """Return rows with formatted numbers, the largest of each column in bold."""
    rows, values = zip(*lines, strict=True)
    # Compare the numbers as they are shown.
    rounded = np.round(np.array(values, dtype=np.float64), 3)
    largest = rounded == np.fmax.reduce(rounded, axis=0)
    return [
        (
            row,
            [f"<b>{_cell(v)}</b>" if top else _cell(v) for v, top in zip(cells, tops, strict=True)],
        )
        for row, cells, tops in zip(rows, rounded, largest, strict=True)
    ]


def _figure(svg: str, caption: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


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
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 48rem; }
.ship { background: var(--soft); border-left: 4px solid var(--strong); padding: .9rem 1.1rem;
  font-size: 1.1rem; margin: 1rem 0; max-width: none; }
.origin { color: var(--faint); font-size: .9rem; max-width: none; overflow-wrap: anywhere; }
.facts { list-style: none; margin: 1rem 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .3rem 2rem; color: var(--faint); font-size: .88rem; }
.facts li { margin: 0; max-width: 11rem; line-height: 1.3; }
.facts b { display: block; font-size: 1.3rem; font-weight: 600; color: var(--ink); }
.bars { list-style: none; margin: 0; padding: 0; font-variant-numeric: tabular-nums; }
.bars li { display: flex; flex-wrap: wrap; align-items: center; padding: .3rem 0; margin: 0;
  max-width: none; }
.bars .name { flex: 1 1 auto; }
.bars .gap { color: var(--faint); font-size: .82rem; text-align: right; padding-left: .6rem;
  margin-left: auto; }
.bars .bar { flex: 0 0 calc(100% - 3.6rem); height: 1.1rem; position: relative; }
.bars .bar > * { position: absolute; }
.bars i { top: .15rem; height: .8rem; min-width: 2px; background: var(--bar); border-radius: 2px; }
.bars .ranker i { background: var(--ranker); }
.bars s { top: -.3rem; bottom: -.3rem; border-left: 1.5px dashed var(--faint); }
.bars u { top: .5rem; border-top: 2px solid var(--ink); }
.bars .best .name, .bars .best b { color: var(--strong); font-weight: 600; }
.bars b { flex: 0 0 3.6rem; font-weight: 500; text-align: right; }
@media (min-width: 40rem) { .bars li { display: grid;
  grid-template-columns: 13rem 1fr 3.6rem 13rem; }
  .bars .bar { grid-column: 2; grid-row: 1; } .bars b { grid-column: 3; grid-row: 1; }
  .bars .gap { grid-column: 4; grid-row: 1; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem; }
th, td { padding: .35rem .55rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
td b { color: var(--strong); }
thead th { vertical-align: bottom; font-weight: 600; white-space: normal; }
table.narrow { width: 100%; max-width: 48rem; }
tbody th, thead th:first-child { text-align: left; font-weight: 500; position: sticky; left: 0;
  background: var(--ground); padding-left: 0; }
tbody tr:hover > * { background: var(--soft); }
@media (max-width: 40rem) { th, td { padding: .35rem .35rem; }
  tbody th { white-space: normal; min-width: 6.5rem; } }
.pictures { display: grid; gap: 1rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
figure { margin: .6rem 0; color: var(--faint); max-width: 32rem; }
figure svg { width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
figcaption, footer { font-size: .88rem; color: var(--faint); }
pre { background: var(--soft); padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; }
li { margin: .3rem 0; max-width: 48rem; } footer { margin-top: 2.5rem;
  border-top: 1px solid var(--line); padding-top: .6rem; }
@media print { .scroll { overflow: visible; } figure, .bars li, tr { break-inside: avoid; } }
"""
