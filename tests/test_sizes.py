"""Modules and functions stay small enough to be read at once."""

import ast
from pathlib import Path

import pytest

import skue

ROOT = Path(skue.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_350_lines_and_a_function_60_beside_its_docstring(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            has_docstring = ast.get_docstring(node) is not None
            first = node.body[0].end_lineno + 1 if has_docstring else node.lineno
            assert node.end_lineno - first < 60, node.name
