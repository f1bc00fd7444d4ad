"""A user's script that uses every public name passes mypy."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skue

SCRIPT = Path(__file__).parent / "user_script.py"
ROOT = Path(skue.__file__).parents[1]


def test_the_script_uses_every_public_name():
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(skue.__all__) - used == set()


@pytest.mark.slow
def test_mypy_accepts_the_script_and_rejects_wrong_uses(tmp_path):
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from skue import Histories, MixedUserEncoder, TwoTowerUserEncoder\n"
        "MixedUserEncoder(age_unit='days')\n"
        "TwoTowerUserEncoder(item_tower='half').fit([[1]]).interupted_\n"
        "Histories.from_lists([[1]])[0].item_ids\n"
    )
    # One run over both files, as loading the types of numpy takes most of the time.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"),
            "--allow-any-generics",  # numpy 2.0 wants more of an array than np.ndarray
            *("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", os.devnull),
            *(str(SCRIPT), str(wrong)),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
    )
    errors = re.findall(r"([^/\\\n]+\.py:\d+): error", done.stdout)
    assert sorted(set(errors)) == ["wrong.py:2", "wrong.py:3", "wrong.py:4"], done.stdout
