"""The options of the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from skue._version import __version__


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
    _add_compare(commands)
    return parser


def _add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "hold out the last events of each user, and measure which encoder finds them"
    command = commands.add_parser(
        "compare",
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog="Exit code: 0, 2 for an error in the input or the options, 130 after Ctrl-C.",
        allow_abbrev=False,
    )
    command.add_argument(
        "interactions",
        nargs="?",
        metavar="LOG",
        help="log to read: .csv, .tsv, .parquet, or .txt with one user per line (default: "
        "generated data)",
    )
    _add_reading(command.add_argument_group("reading the log"))
    _add_comparison(command.add_argument_group("comparison"))
    _add_output(command.add_argument_group("output"))


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
        help="what is known of the items: a .csv, .tsv or .parquet file with a column of ids and "
        "columns of text, categories or numbers, read with the encoding and the decimal mark of "
        "the log (default: none)",
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
        "--exclude-seen",
        dest="seen",
        action="store_const",
        const="exclude",
        help=argparse.SUPPRESS,  # the name in skue 0.1
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


_LARGEST_K = 1_000_000
