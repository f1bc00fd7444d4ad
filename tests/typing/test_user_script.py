"""A user's script that uses every public name passes mypy."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import skue

SCRIPT = Path(__file__).parent / "user_script.py"
ROOT = Path(skue.__file__).parents[1]


def check(path, folder):
    return subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"),
            "--allow-any-generics",  # numpy 2.0 wants more of an array than np.ndarray
            *("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(folder), str(path)),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"MYPYPATH": str(ROOT)},
    )


def test_the_script_uses_every_public_name():
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(skue.__all__) - used == set()


@pytest.mark.slow
def test_mypy_passes_over_it_and_sees_what_is_wrong(tmp_path):
    pytest.importorskip("mypy")
    done = check(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from skue import Histories, MixedUserEncoder, TwoTowerUserEncoder\n"
        "MixedUserEncoder(age_unit='days')\n"
        "TwoTowerUserEncoder(item_tower='half').fit([[1]]).interupted_\n"
        "Histories.from_lists([[1]])[0].item_ids\n"
    )
    done = check(wrong, tmp_path)
    assert "wrong.py:2: error" in done.stdout
    assert "wrong.py:3: error" in done.stdout
    assert "wrong.py:4: error" in done.stdout
