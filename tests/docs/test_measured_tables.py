"""The tables of the pages have the figures that the benchmarks wrote."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("measured", ROOT / "docs" / "measured_tables.py")
measured = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(measured)


def test_pages_have_measured_tables():
    assert ROOT / "README.md" in measured.pages()
    for name in ("which_encoder", "quality", "speed", "past_one_machine"):
        assert ROOT / f"docs/user_guide/{name}.md" in measured.pages()


@pytest.mark.parametrize("page", measured.pages(), ids=lambda page: page.stem)
def test_the_tables_of_a_page_equal_the_files_of_the_benchmarks(page):
    text = page.read_text(encoding="utf-8")
    assert measured.filled(text) == text
    assert all(len(place.group(0).splitlines()) > 2 for place in measured.PLACE.finditer(text))


def test_a_changed_figure_is_noticed():
    page = ROOT / "docs/user_guide/which_encoder.md"
    text = page.read_text(encoding="utf-8")
    changed = text.replace("| 0.0", "| 0.9", 1)
    assert changed != text
    assert measured.filled(changed) == text
