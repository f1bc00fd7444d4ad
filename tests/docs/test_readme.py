"""The figures of the README are those that its command prints."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_table_is_what_the_command_prints():
    done = subprocess.run(
        [sys.executable, "-m", "skue", "compare", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    table = runpy.run_path(str(ROOT / "docs" / "score_table.py"))["table"]
    printed = table(json.loads(done.stdout))
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = readme.index(printed[0])
    written = readme[start : start + len(printed)]
    assert [line.split("|")[1] for line in written] == [line.split("|")[1] for line in printed]
    assert len(printed) > 8
    for ours, theirs in zip(written[2:], printed[2:], strict=True):
        # Another BLAS rounds otherwise, and training carries that on.
        within = 0.03 if "two-tower" in theirs else 0.004
        assert figures(ours) == pytest.approx(figures(theirs), abs=within), theirs


def figures(line):
    return [float(figure) for figure in re.findall(r"[-+]?\d\.\d+", line)]
