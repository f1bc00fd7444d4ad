"""The API reference lists what is public, all of it and nothing else."""

import doctest
import re
import tomllib
from pathlib import Path

import pytest

import skue
import skue.datasets
import skue.serving

MODULES = [skue, skue.datasets, skue.serving]
WAITS = {"share_items": "its example is skipped, for it needs a dask cluster"}
PAGE = Path(__file__).parents[2] / "docs" / "api" / "index.rst"


def listed(text):
    """Return the names in autosummary blocks, by the module they are in."""
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


def test_a_name_that_is_missing_from_the_page_would_be_seen():
    text = PAGE.read_text(encoding="utf-8").replace("   recall_at_k\n", "")
    assert "recall_at_k" not in listed(text)["skue"]


def examples(thing):
    """Return the examples of a docstring that pytest runs, those of methods apart."""
    found = doctest.DocTestFinder(recurse=False).find(thing, "thing")
    return [
        example
        for test in found
        for example in test.examples
        if not example.options.get(doctest.SKIP)
    ]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        pytest.param(
            module,
            name,
            id=f"{module.__name__}.{name}",
            marks=[pytest.mark.xfail(strict=False, reason=WAITS[name])] if name in WAITS else [],
        )
        for module in MODULES
        for name in module.__all__
    ],
)
def test_every_public_name_has_an_example_that_runs(module, name):
    assert examples(getattr(module, name))


def test_an_example_that_is_skipped_or_missing_would_be_seen():
    def bare():
        """Say nothing."""

    def skipped():
        """Show what nobody runs.

        >>> bare()  # doctest: +SKIP
        """

    def shown():
        """Show what is run.

        >>> 1 + 1
        2
        """

    assert [len(examples(thing)) for thing in (bare, skipped, shown)] == [0, 0, 1]


def test_doctests_of_the_package_run_with_the_tests():
    settings = (PAGE.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    options = tomllib.loads(settings)["tool"]["pytest"]["ini_options"]
    assert "--doctest-modules" in options["addopts"]
    assert "skue" in options["testpaths"]
