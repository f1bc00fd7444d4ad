"""The API reference lists exactly the public names."""

import doctest
import re
from pathlib import Path

import pytest

import skue
import skue.datasets
import skue.serving

MODULES = [skue, skue.datasets, skue.serving]
PAGE = Path(__file__).parents[2] / "docs" / "api" / "index.rst"


def listed(text):
    """Return the names in autosummary blocks by module."""
    names: dict[str, list[str]] = {}
    module = None
    for line in text.splitlines():
        if match := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            module = match.group(1)
        elif match := re.fullmatch(r"   (\w+)", line):
            names.setdefault(module, []).append(match.group(1))
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_api_reference_lists_every_public_name_once(module):
    names = listed(PAGE.read_text(encoding="utf-8"))[module.__name__]
    elsewhere = set() if module is skue else set(skue.__all__)
    assert sorted(names) == sorted(set(module.__all__) - elsewhere)


def examples(thing):
    """Return the examples of a docstring that pytest runs, without those of methods."""
    found = doctest.DocTestFinder(recurse=False).find(thing, "thing")
    return [
        example
        for test in found
        for example in test.examples
        if not example.options.get(doctest.SKIP)
    ]


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in MODULES for name in module.__all__ if name != "share_items"],
)
def test_every_public_name_has_an_example_that_runs(module, name):
    assert examples(getattr(module, name))
