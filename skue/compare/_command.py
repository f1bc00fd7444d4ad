"""``python -m skue compare``."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from skue.compare._report import check_writable, write_report
from skue.compare._run import compare
from skue.compare._task import make_task
from skue.compare._text import as_json, notes, table, what_to_ship
from skue.datasets._user_histories import make_user_histories
from skue.histories._load import load_interactions
from skue.items._item_embeddings import ItemEmbeddings

_COLUMNS = ("user", "item", "time", "weight")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after one line about what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note
            _compare(options)
    except (ValueError, OSError, ImportError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"skue compare: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("skue compare: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def _compare(options: argparse.Namespace) -> None:
    if options.out is not None:
        check_writable(options.out)
    if options.items is not None and not options.items.is_file():
        raise ValueError(f"--items {options.items}: there is no such file.")
    items = None if options.items is None else ItemEmbeddings.load(options.items)
    if options.interactions is None:
        data = make_user_histories()
        histories, items = data.histories, items or data.item_embeddings
    else:
        columns = {name: getattr(options, name) for name in _COLUMNS}
        histories = load_interactions(options.interactions, **columns)
    task = make_task(histories, options.split)
    # Not before: what is wrong with the input is then all that is said.
    name = options.interactions or "generated data (name a log to use your own)"
    _progress(f"{name}: {len(histories)} users, {len(histories.codes)} events")
    comparison = compare(
        task,
        items,
        list(dict.fromkeys(options.k)),
        exclude_seen=options.exclude_seen,
        report_progress=_progress,
    )
    if options.out is not None:
        write_report(comparison, options.out)
        _progress(f"report in {options.out}")
    if options.json:
        print(as_json(comparison))
        return
    print(table(comparison))
    print()
    for line in notes(comparison):
        print(line)
    print()
    print(what_to_ship(comparison))


def _progress(message: str) -> None:
    print(f"skue compare: {message}", file=sys.stderr, flush=True)


def _note(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    """Show a warning as one line, in place of two with a path."""
    _progress(f"note: {message}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m skue", description=None)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "compare", help="hold out what users did last, and see which encoder finds it"
    )
    command.add_argument(
        "interactions",
        nargs="?",
        help="log: .csv, .tsv, .parquet, or .txt with one user a line; without it, generated data",
    )
    command.add_argument(
        "--items", type=Path, help="item vectors written by ItemEmbeddings.save (.npz)"
    )
    command.add_argument("-k", nargs="+", type=_positive, default=[20, 50], metavar="K")
    command.add_argument("--out", type=Path, help="folder for the report and the fitted encoders")
    command.add_argument(
        "--exclude-seen", action="store_true", help="do not recommend items of the history"
    )
    command.add_argument(
        "--split",
        choices=["last", "time"],
        default="last",
        help="hold out each user's last event, or everything after one point in time",
    )
    command.add_argument("--json", action="store_true", help="print JSON in place of the table")
    for name in _COLUMNS:
        command.add_argument(
            f"--{name}",
            type=_column,
            metavar="COLUMN",
            help=f"column of the {name}: its name, or its position from 0 if there is no header",
        )
    return parser


def _column(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
