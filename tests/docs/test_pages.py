"""The pages of the documentation."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs/user_guide").glob("*.md"),
]
FILES = [
    (page.relative_to(ROOT).as_posix(), name)
    for page in PAGES
    for name in re.findall(
        r"\b(?:skue|tests|benchmarks|docs|examples)/[\w/-]*\w(?:\.\w+)?",
        # Comments name the files of tables, which need not be measured yet.
        re.sub(r"<!--.*?-->", "", page.read_text("utf-8")),
    )
    if not name.startswith("docs/_build")
]


def test_pages_name_files():
    assert len(FILES) > 20


@pytest.mark.parametrize(("page", "name"), sorted(set(FILES)))
def test_every_file_that_a_page_names_exists(page, name):
    assert (ROOT / name).exists()
