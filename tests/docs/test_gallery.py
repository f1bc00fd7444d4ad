"""The scripts of the gallery, which run when the documentation is built."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


def test_the_gallery_contains_every_example_that_a_page_links_to():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    linked = set(re.findall(r"auto_examples_(plot_\w+)\.py", text))
    assert len(linked) > 5
    assert linked <= {path.stem for path in EXAMPLES}
