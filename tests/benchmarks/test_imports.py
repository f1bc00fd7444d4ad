"""What the benchmarks import from skue exists, also of those whose other libraries are absent."""

import ast
import importlib
from importlib.util import find_spec
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def exists(module, name):
    # A module is only found and not imported, because its libraries may be absent.
    if hasattr(importlib.import_module(module), name):
        return True
    return hasattr(importlib.import_module(module), "__path__") and find_spec(f"{module}.{name}")


def test_every_name_that_a_benchmark_imports_from_skue_exists():
    missing = []
    for file in sorted(BENCHMARKS.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("skue"):
                names = [alias.name for alias in node.names]
                missing += [(file.name, name) for name in names if not exists(node.module, name)]
    assert not missing
