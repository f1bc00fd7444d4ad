"""What several test modules share."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# The workers of pytest-xdist share the cores. Threads of BLAS that wait for each other are slower.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Some tests press Ctrl-C, which a shell's background jobs ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, not about the code.
settings.register_profile("skue", deadline=None)
# For what is worth a long search: pytest --hypothesis-profile=long tests/reading.
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile("skue")


@pytest.fixture
def real_data():
    """Folder of the public logs, named by SKUE_DATA; the test skips without it."""
    folder = os.environ.get("SKUE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SKUE_DATA names no folder with the public logs")
    return Path(folder)
