"""The scripts of the gallery, which run when the documentation is built."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


def test_the_gallery_contains_every_example_that_a_page_links_to():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    linked = set(re.findall(r"auto_examples_(plot_\w+)\.py", text))
    assert len(linked) > 5
    assert linked <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_shows_a_plot_and_discusses_it(path):
    code, drawn, after = path.read_text(encoding="utf-8").partition("plt.show()")
    assert drawn
    assert "# %%\n# " in code
    assert "# %%\n# " in after
