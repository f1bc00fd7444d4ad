"""The API reference lists what is public, all of it and nothing else."""

import re
from pathlib import Path

import pytest

import skue
import skue.datasets
import skue.serving

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


@pytest.mark.parametrize(
    "module", [skue, skue.datasets, skue.serving], ids=lambda module: module.__name__
)
def test_the_api_reference_lists_every_public_name_once(module):
    names = listed(PAGE.read_text(encoding="utf-8"))[module.__name__]
    elsewhere = set() if module is skue else set(skue.__all__)
    assert sorted(names) == sorted(set(module.__all__) - elsewhere)


def test_a_name_that_is_missing_from_the_page_would_be_seen():
    text = PAGE.read_text(encoding="utf-8").replace("   recall_at_k\n", "")
    assert "recall_at_k" not in listed(text)["skue"]
