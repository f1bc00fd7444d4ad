"""Functions that run in processes forked from a server that has imported skue."""

import multiprocessing
import os
import signal
import sys

import joblib

from skue.compare import _contenders, _page
from skue.compare._command import main
from skue.compare._report import write_report
from skue.compare._stopping import Stopping
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder


def start(function, *arguments, stdout, stderr):
    """Start a process that calls a function and writes what it says to two files."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skue.compare._command"])
    process = context.Process(target=_call, args=(function, arguments, stdout, stderr), daemon=True)
    process.start()
    return process


def in_process(function, *arguments, stderr):
    """Call a function in another process, and return the exit code."""
    process = start(function, *arguments, stdout=os.devnull, stderr=stderr)
    process.join()
    return process.exitcode


def _call(function, arguments, stdout, stderr):
    for descriptor, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(function(*arguments))


def write_report_and_signal(comparison, folder, number, module, name, n_calls):
    """Write a report, and send this process a signal at the n-th call of a function."""
    _page.curve_svg = lambda comparison: ""
    module = {"os": os, "joblib": joblib}[module]
    original, calls = getattr(module, name), []

    def signalling(*arguments):
        calls.append(arguments)
        if len(calls) == n_calls:
            os.kill(os.getpid(), number)
        return original(*arguments)

    setattr(module, name, signalling)
    with Stopping() as stopping:
        write_report(comparison, folder, stopping)


def compare_with_a_two_tower_that_never_ends(*arguments):
    """Run the command with a two-tower encoder that goes on until it is stopped."""

    def endless(*items, **options):
        return TwoTowerUserEncoder(*items, **options, max_iter=10**6, early_stopping=False)

    _contenders.TwoTowerUserEncoder = endless
    return main(["compare", *arguments])
