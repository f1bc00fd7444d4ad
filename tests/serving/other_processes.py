"""Functions that run in another process, most of them until it is killed."""

import multiprocessing
import os
import signal

import numpy as np

from skue import ItemEmbeddings, export_index, prune
from skue.serving import _versions


def forkserver():
    """Return a context whose processes are forked from one that has imported skue."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skue", "other_processes"])
    return context


def exit_code_of(function, *arguments):
    """Call a function in another process, and return the exit code."""
    process = forkserver().Process(target=function, args=arguments, daemon=True)
    process.start()
    process.join(60)
    return process.exitcode


def export_and_die(folder, step):
    """Export an index, and be killed where the export calls this function."""
    module, _, name = step.rpartition(".")
    place = getattr(_versions, module) if module else _versions
    setattr(place, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    export_index(ItemEmbeddings([[1.0, 0.0]]), folder)


CATALOGUES = [
    ItemEmbeddings(
        np.random.default_rng(s).normal(size=(3000 + s, 32)),
        ids=[f"{s}-{i}" for i in range(3000 + s)],
        space_id=f"space-{s}",
    )
    for s in range(2)
]


def export_forever(folder, seed, inside):
    """Export one of two catalogues and prune, over and over; set ``inside`` during an export."""
    rng = np.random.default_rng(seed)
    while True:
        inside.value = True
        export_index(CATALOGUES[int(rng.integers(2))], folder)
        inside.value = False
        prune(folder, keep=2)
