"""A user's script that uses every public name. CI runs mypy --strict on it."""

import ast
from pathlib import Path

import skue


def test_the_script_uses_every_public_name():
    script = Path(__file__).parent / "user_script.py"
    tree = ast.parse(script.read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(skue.__all__) - used == set()
