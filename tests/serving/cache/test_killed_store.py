"""A store on disk whose writers are killed in the middle of a write."""

import os
import signal
import time

import numpy as np
import pytest

pytest.importorskip("lmdb")

from other_processes import KEYS, N_DIMS, forkserver, vector_of, write_forever

from skue import LMDBStore
from skue.serving._stores import unpack_entry


def numbers(store):
    """Return the numbers in one snapshot, after checking every entry."""
    entries = [unpack_entry(key, N_DIMS, data) for key, data in store.get_many(KEYS).items()]
    assert all(entry is not None for entry in entries)
    assert all(np.array_equal(entry.vector, vector_of(entry.time)) for entry in entries)
    assert len(entries) in (0, len(KEYS))
    return {entry.time for entry in entries}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9 needs signals")
def test_a_writer_killed_inside_a_write_leaves_whole_batches(tmp_path):
    context = forkserver()
    rng = np.random.default_rng(0)
    reader, seen, n_struck = LMDBStore(tmp_path, max_bytes=2**26), set(), 0
    for kill in range(200):
        before = numbers(reader)
        inside = context.Value("b", False, lock=False)
        writer = context.Process(target=write_forever, args=(tmp_path, kill, inside), daemon=True)
        writer.start()
        patience = time.monotonic() + 20
        while numbers(reader) == before and time.monotonic() < patience:
            time.sleep(0.002)
        time.sleep(0.01 * rng.random())
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        found = numbers(reader)
        assert len(found) == 1
        seen |= found
        # Only kills inside a write count.
        n_struck += inside.value
        if n_struck == 20:
            break
    assert n_struck == 20
    assert len(seen) > 15
    reader.close()
    # A writer killed at the end of a commit may have written it without telling open readers.
    # Whoever opens the file afterwards finds that batch, which must be whole as well.
    reopened = LMDBStore(tmp_path, max_bytes=2**26)
    assert len(numbers(reopened)) == 1
    reopened.close()
