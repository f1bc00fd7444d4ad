"""The command ``python -m skue compare``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings

from skue.compare._about import about
from skue.compare._item_features import read_item_features
from skue.compare._log import read_log
from skue.compare._options import parser
from skue.compare._progress import Progress
from skue.compare._report import check_folder, write_report
from skue.compare._run import Comparison, compare
from skue.compare._stopping import Stopping
from skue.compare._task import make_task
from skue.compare._text import as_json, notes, table, what_to_ship
from skue.datasets._user_histories import make_user_histories
from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings

_NO_LOG = "generated data (name a log to use your own)"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    code : int
        0; 2 after an error, which is one line; 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    progress = Progress(sys.stderr, quiet=options.quiet)
    try:
        with Stopping() as stopping, warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda message, *rest, **named: progress.note(
                f"note: {' '.join(str(message).split())}"
            )
            _compare(options, arguments, progress, stopping)
    except (ValueError, OSError, ImportError, MemoryError) as error:
        progress.note(f"error: {_one_line(error)}")
        return 2
    except KeyboardInterrupt:
        progress.note("interrupted")
        return 130
    return 0


def _compare(
    options: argparse.Namespace, arguments: list[str], progress: Progress, stopping: Stopping
) -> None:
    if options.out is not None:
        for left_over in check_folder(options.out):
            progress.note(
                f"note: {options.out / left_over} is left from a killed run and can be deleted."
            )
    histories, items = _read(options, progress)
    task = make_task(histories, options.split)
    known = None
    if options.item_features is not None:
        with progress.aside(f"reading {options.item_features}"):
            known = read_item_features(
                options.item_features,
                histories.item_ids,
                encoding=options.encoding,
                decimal=options.decimal,
            )
    name = _NO_LOG if options.interactions is None else options.interactions
    # After all checks, so that an error in the input is the only line.
    progress.say(f"{name}: {len(histories)} users, {len(histories.codes)} events")
    comparison = compare(
        task,
        items,
        None if options.k is None else list(dict.fromkeys(options.k)),
        about=about(name, histories, arguments),
        seen=options.seen,
        item_features=known,
        progress=progress,
    )
    # The table is printed even if the report cannot be written.
    try:
        if options.out is not None:
            write_report(comparison, options.out, stopping)
            progress.say(f"report in {options.out}")
    finally:
        _print(as_json(comparison) if options.json else _as_text(comparison))


def _read(
    options: argparse.Namespace, progress: Progress
) -> tuple[Histories, ItemEmbeddings | None]:
    if options.items is not None and not options.items.is_file():
        raise ValueError(f"--items {options.items}: the file does not exist.")
    items = None if options.items is None else ItemEmbeddings.load(options.items)
    if options.interactions is None:
        data = make_user_histories()
        return data.histories, items or data.item_embeddings
    with progress.aside(f"reading {options.interactions}"):
        return read_log(options), items


def _as_text(comparison: Comparison) -> str:
    return "\n".join([table(comparison), "", *notes(comparison), "", what_to_ship(comparison)])


def _print(text: str) -> None:
    if sys.stdout is None:
        return
    try:
        # Escape characters that the terminal cannot show.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        print(text, flush=True)
    except OSError as error:
        # Otherwise flushing the rest would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(f"the output could not be written: {error.strerror}.") from None


def _one_line(error: BaseException) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"not enough memory. {message}".strip()
    return message or type(error).__name__
