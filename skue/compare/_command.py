"""The command ``python -m skue compare``: its options, and how errors are told."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from skue import _ctrl_c
from skue._version import __version__
from skue.compare._id_table import TextOptions
from skue.compare._item_features import read_item_features
from skue.compare._labels import read_labels
from skue.compare._prediction import predict_labels
from skue.compare._progress import Progress
from skue.compare._report import check_folder, write_report
from skue.compare._result import GENERATED, Result
from skue.compare._run import compare
from skue.compare._split import moment, split_log
from skue.datasets._user_histories import make_user_histories
from skue.histories._histories import Histories
from skue.histories._load import read_interactions
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._clocks import end_of_log
from skue.reading._roles import ColumnsRead, doubt_of_times

_LARGEST_K = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    code : int
        0; 2 after an error, which is one line; 130 after Ctrl-C, 143 after SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    progress = Progress(sys.stderr, quiet=options.quiet)
    try:
        with _ctrl_c.raising(), warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda message, *rest, **named: progress.note(
                f"note: {_as_flags(message)}"
            )
            _compare(options, arguments, progress)
    except (ValueError, OSError, ImportError, MemoryError) as error:
        reason = "not enough memory. " if isinstance(error, MemoryError) else ""
        progress.note(f"error: {reason}{_as_flags(error) or type(error).__name__}")
        return 2
    except KeyboardInterrupt as stop:
        progress.note("interrupted")
        return 143 if isinstance(stop, _ctrl_c.Terminated) else 130
    return 0


def _compare(options: argparse.Namespace, arguments: list[str], progress: Progress) -> None:
    if options.target is not None:
        _refuse_other_question(options)
    if options.out is not None:
        check_folder(options.out)  # before any work
    histories, items, columns = _read(options, progress)
    roles = {"user": None, "item": None} if columns is None else columns.roles
    text = TextOptions(options.encoding, options.delimiter, options.quotes, options.decimal)
    split = split_log(histories, options.split) if options.target is None else None
    feature_file = None
    if options.item_features is not None:
        with progress.aside(f"reading {options.item_features}"):
            feature_file = read_item_features(
                options.item_features, histories.item_ids, roles["item"], text
            )
    name = options.interactions or GENERATED
    if columns is not None:
        progress.say(str(columns))
    hint = "" if options.interactions else " (name a log to use your own)"
    progress.say(f"{name}{hint}: {len(histories)} users, {len(histories.codes)} events")
    printed = _PrintedTable(quiet=options.json)
    told: dict[str, Any] = {
        "about": _about(name, histories, arguments),
        "columns": "" if columns is None else _about_columns(columns),
        "progress": progress,
        "on_row": printed.grow,
    }
    result: Result
    if split is None:
        labels = read_labels(options.target, histories, roles["user"], text)
        features = None if feature_file is None else feature_file.features
        result = predict_labels(histories, labels, features, **told)
    else:
        ks = None if options.k is None else list(dict.fromkeys(options.k))
        result = compare(split, items, ks, seen=options.seen, feature_file=feature_file, **told)
    # The table is printed even if the report cannot be written.
    try:
        if options.out is not None:
            write_report(result, options.out)
            progress.say(f"report in {options.out}")
    finally:
        if options.json:
            _print(result.as_json(), encoding="utf-8")
        else:
            printed.grow(result)
            verdict = f"{result.verdict()} {result.plain_words()}".rstrip()
            _print("\n".join(["", *result.notes(), "", verdict]))
    if result.stopped is not None:
        raise result.stopped


def _about_columns(columns: ColumnsRead) -> str:
    """Return a note on which columns were read, and the options for those that may be weights."""
    sentences = [f"Read: {columns}."]
    for name in columns.possible_weights:
        sentences.append(f"Column {name!r} is not used: --weight {shlex.quote(str(name))}.")
    return " ".join(sentences)


def _refuse_other_question(options: argparse.Namespace) -> None:
    """Raise for options that only the search for held-out items has."""
    if options.interactions is None:
        raise ValueError("--target needs the log of its users: compare LOG --target FILE.")
    others = {"-k": options.k, "--items": options.items}
    others |= {
        "--seen": None if options.seen == "auto" else options.seen,
        "--split": None if options.split == "last" else options.split,
    }
    for flag, value in others.items():
        if value is not None:
            raise ValueError(f"--target and {flag} cannot be combined. Remove one.")


def _read(
    options: argparse.Namespace, progress: Progress
) -> tuple[Histories, ItemEmbeddings | None, ColumnsRead | None]:
    """Return the histories, the item vectors, and which columns of the log were read."""
    items = None
    if options.items is not None:
        if not options.items.is_file():
            raise ValueError(f"--items {options.items}: the file does not exist.")
        try:
            items = ItemEmbeddings.load(options.items)
        except ValueError as error:
            raise ValueError(f"--items {error}") from error
    if options.interactions is None:
        data = make_user_histories()
        return data.histories, items or data.item_embeddings, None
    with progress.aside(f"reading {options.interactions}"):
        histories, columns = read_log(options)
    return histories, items, columns


def read_log(options: argparse.Namespace) -> tuple[Histories, ColumnsRead | None]:
    """Read the log with the options of the command line.

    Raises
    ------
    ValueError
        If the file is invalid, or if it is not clear which column holds the times.
    """
    if options.no_time and options.time is not None:
        raise ValueError(f"--time {options.time} and --no-time cannot be combined. Remove one.")
    names = {role: getattr(options, role) for role in ("user", "item", "time", "weight")}
    if options.no_time:
        names["time"] = False
    times = {
        "time_unit": options.time_unit,
        "dayfirst": {None: None, "yes": True, "no": False}[options.dayfirst],
        "time_format": options.time_format,
    }
    text = {name: getattr(options, name) for name in ("encoding", "delimiter", "quotes", "decimal")}
    histories, columns = read_interactions(options.interactions, names, times, text)
    if columns is not None and columns.dates:
        held = " and ".join(f"column {name!r}" for name in columns.dates)
        named = " or ".join(f"--time {shlex.quote(str(name))}" for name in columns.dates)
        raise ValueError(
            f"{options.interactions}: which column is the time? No column has a usual name, but "
            f"{held} may hold it. Add {named} (or --no-time to use the order of the lines)."
        )
    if columns is not None and (doubt := doubt_of_times(columns)):
        warnings.warn(doubt, UserWarning, stacklevel=1)
    return histories, columns


def _about(name: str, histories: Histories, arguments: list[str]) -> dict[str, Any]:
    times = histories.timestamps
    ends, late = [], ""
    if times is not None and len(times):
        ends = [times.min(), times.max()]
        end, n_later = end_of_log(times)
        if n_later:
            late = f"{n_later} event(s) are later than {moment(end)}, where the log seems to end."
    return {
        "log": name,
        "n_users": len(histories),
        "n_events": len(histories.codes),
        "period": [moment(time) for time in ends],
        "late": late,
        "command": shlex.join(["python", "-m", "skue", *arguments]),
        "date": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        "versions": {
            "skue": __version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "Python": platform.python_version(),
        },
    }


class _PrintedTable:
    """The table on stdout, to which lines are added when they are known."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.n_lines = 0

    def grow(self, result: Result) -> None:
        """Print the rows that are new."""
        lines = [] if self.quiet else result.table().splitlines()[self.n_lines :]
        self.n_lines += len(lines)
        if lines:
            _print("\n".join(lines))


def _print(text: str, encoding: str | None = None) -> None:
    if sys.stdout is None:
        return
    try:
        # Escape characters that the terminal cannot show.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
        print(text, flush=True)
    except OSError as error:
        # Otherwise flushing the rest would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(f"the output could not be written: {error.strerror}.") from None


def _as_flags(message: Any) -> str:
    """Return a message of the library in one line, with its arguments as flags of the command."""
    text = " ".join(str(message).split())
    text = text.replace("time=False", "--no-time").replace("quotes=False", "--no-quotes")
    text = (
        text.replace("=...", "=COLUMN")
        .replace("dayfirst=True", "--dayfirst yes")
        .replace("dayfirst=False", "--dayfirst no")
    )
    arguments = "user|item|time|weight|time_unit|time_format|dayfirst|encoding|delimiter|decimal"
    return re.sub(
        rf"\b({arguments})=(?=(\S?))",
        lambda found: (
            f"--{found[1].replace('_', '-')}"
            + (" " if found[2] and found[2] not in ".,;:)" else "")
        ),
        text,
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m skue``."""
    as_module = Path(sys.argv[0]).name == "__main__.py"
    parser = argparse.ArgumentParser(
        prog="python -m skue" if as_module else "skue",
        description="User vectors from interaction histories.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"skue {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    about = "measure which encoder finds held-out events, or predicts a label of the users"
    command = commands.add_parser(
        "compare",
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog="Exit code: 0, 2 for an error in the input or the options, 130 after Ctrl-C "
        "and 143 after SIGTERM, when the rows that are done are printed and written.",
        allow_abbrev=False,
    )
    command.add_argument(
        "interactions",
        nargs="?",
        metavar="LOG",
        help="log to read: .csv, .tsv, .parquet, or .txt with one user per line; a folder or a "
        "pattern of such files (default: generated data)",
    )
    _add_reading(command.add_argument_group("reading the log"))
    _add_comparison(command.add_argument_group("comparison"))
    _add_output(command.add_argument_group("output"))
    return parser


def _add_reading(group: argparse._ArgumentGroup) -> None:
    defaults = {
        "user": "a column with a usual name",
        "item": "a column with a usual name",
        "time": "a column with a usual name, else the order of the lines",
        "weight": "every event has weight 1",
    }
    for name, default in defaults.items():
        group.add_argument(
            f"--{name}",
            type=_column,
            metavar="COLUMN",
            help=f"column of the {name}: its name, or its position from 0 if there is no header "
            f"line (default: {default})",
        )
    group.add_argument(
        "--no-time",
        action="store_true",
        help="read no times, and use the order of the lines instead (default: off)",
    )
    group.add_argument(
        "--time-unit",
        choices=["s", "ms", "us", "ns"],
        help="unit of numeric times (default: the one in which all times are between 1990 and "
        "2100)",
    )
    group.add_argument(
        "--time-format",
        metavar="FORMAT",
        help="format of times in text, as of strptime, such as '%%d.%%m.%%Y %%H:%%M' (default: the "
        "usual formats are tried)",
    )
    group.add_argument(
        "--dayfirst",
        choices=["yes", "no"],
        help="whether 03/04/2026 is the 3rd of April (default: inferred from other dates)",
    )
    group.add_argument(
        "--encoding", default="utf-8", help="encoding of text, such as cp1252 (default: utf-8)"
    )
    group.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="MARK",
        help="delimiter of the columns: one character, or :: or tab (default: inferred from the "
        "first lines)",
    )
    group.add_argument(
        "--no-quotes",
        dest="quotes",
        action="store_false",
        help="treat quote marks like other characters (default: fields may be quoted)",
    )
    group.add_argument(
        "--decimal",
        choices=[".", ","],
        default=".",
        metavar="MARK",
        help="decimal mark of weights, a point or a comma (default: .)",
    )


def _add_comparison(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--items",
        type=Path,
        metavar="FILE",
        help="item vectors written by ItemEmbeddings.save, .npz (default: learned from the log)",
    )
    group.add_argument(
        "--item-features",
        type=Path,
        metavar="FILE",
        help="features of the items: a .csv, .tsv or .parquet file with a column of ids and "
        "columns of text, categories or numbers; --no-quotes and --decimal hold for it, too "
        "(default: none)",
    )
    group.add_argument(
        "--target",
        type=Path,
        metavar="FILE",
        help="a .csv, .tsv or .parquet file with a column of user ids and a column of classes or "
        "numbers: measure which vectors predict it, in place of held-out items (default: none)",
    )
    group.add_argument(
        "-k",
        nargs="+",
        type=_positive,
        metavar="K",
        help="numbers of recommendations to score; the first K decides (default: 20 50; with "
        "fewer than 100 items, a fifth and a half of them)",
    )
    group.add_argument(
        "--seen",
        choices=["auto", "keep", "exclude"],
        default="auto",
        help="rank items of the history, or exclude them; auto excludes them if fewer than 1 %% "
        "of events repeat an item (default: auto)",
    )
    group.add_argument(
        "--split",
        choices=["last", "time"],
        default="last",
        help="hold out each user's last events, or all events after one point in time (default: "
        "last)",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for the report and the fitted encoders; it must be new or empty, or hold an "
        "earlier report, which is replaced (default: no report)",
    )
    group.add_argument(
        "--json", action="store_true", help="print JSON instead of the table (default: off)"
    )
    group.add_argument(
        "--quiet",
        action="store_true",
        help="show only warnings and errors, no progress (default: off)",
    )


def _column(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _delimiter(text: str) -> str:
    return "\t" if text in ("tab", "\\t") else text


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= _LARGEST_K):
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 to {_LARGEST_K}, got {text!r} (LOG goes before -k)"
        )
    return int(text)
