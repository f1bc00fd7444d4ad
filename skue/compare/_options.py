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
    about = "hold out what users did last, and see which encoder finds it"
    command = commands.add_parser(
        "compare",
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog="Exit code: 0, 2 after an error in the input or the options, 130 after Ctrl-C.",
        allow_abbrev=False,
    )
    command.add_argument(
        "interactions",
        nargs="?",
        metavar="LOG",
        help="log to read: .csv, .tsv, .parquet, or .txt with one user a line (default: generated "
        "data)",
    )
    _add_reading(command.add_argument_group("reading the log"))
    _add_comparison(command.add_argument_group("what is compared"))
    _add_output(command.add_argument_group("output"))


def _add_reading(group: argparse._ArgumentGroup) -> None:
    defaults = {
        "user": "looked for by the usual names",
        "item": "looked for by the usual names",
        "time": "looked for by the usual names; without one, the order of the lines",
        "weight": "every event weighs 1",
    }
    for name, default in defaults.items():
        group.add_argument(
            f"--{name}",
            type=_column,
            metavar="COLUMN",
            help=f"column of the {name}: its name, or its position from 0 if the log has no header "
            f"(default: {default})",
        )
    group.add_argument(
        "--no-time",
        action="store_true",
        help="use the order of a user's events alone, no dates; without a time column that has a "
        "usual name, this is the order of the lines (default: off)",
    )
    group.add_argument(
        "--time-unit",
        choices=["s", "ms", "us", "ns"],
        help="unit of times that are numbers (default: found out, where they all are dates of "
        "1990 to 2100)",
    )
    group.add_argument(
        "--dayfirst",
        choices=["yes", "no"],
        help="whether 03/04/2026 is the 3rd of April (default: the other dates tell)",
    )
    group.add_argument(
        "--encoding", default="utf-8", help="encoding of text, such as cp1252 (default: utf-8)"
    )
    group.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="MARK",
        help="what separates the columns: one character, or :: or tab (default: the first lines "
        "tell)",
    )
    group.add_argument(
        "--no-quotes",
        dest="quotes",
        action="store_false",
        help="take quote marks for letters like any other (default: fields may be in quote marks)",
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
        "-k",
        nargs="+",
        type=_positive,
        metavar="K",
        help="how many recommendations count; the first K decides (default: 20 50; with fewer "
        "than 100 items a fifth and a half of them)",
    )
    group.add_argument(
        "--seen",
        choices=["auto", "keep", "exclude"],
        default="auto",
        help="rank items that are in the history already, or exclude them; auto excludes them "
        "where fewer than 1 %% of events repeat an item (default: auto)",
    )
    group.add_argument(
        "--exclude-seen",
        dest="seen",
        action="store_const",
        const="exclude",
        help=argparse.SUPPRESS,  # its name in skue 0.1
    )
    group.add_argument(
        "--split",
        choices=["last", "time"],
        default="last",
        help="hold out each user's last event, or everything after one point in time (default: "
        "last)",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for the report and the fitted encoders: a new or empty one, or one that holds "
        "an earlier report, which is replaced (default: no report)",
    )
    group.add_argument(
        "--json", action="store_true", help="print JSON in place of the table (default: off)"
    )
    group.add_argument(
        "--quiet",
        action="store_true",
        help="show no progress, only warnings and errors (default: off)",
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
