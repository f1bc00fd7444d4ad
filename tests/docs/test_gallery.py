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


def test_pages_on_real_logs_have_a_prefix_that_leaves_them_out_without_the_log():
    conf = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    prefixes = tuple(re.findall(r'^    "(plot_\w+_)": ', conf, flags=re.M))
    assert len(prefixes) == 3
    assert all(any(path.name.startswith(prefix) for path in EXAMPLES) for prefix in prefixes)
    for path in EXAMPLES:
        reads_a_log = re.search(r"SKUE_DATA|distribution\(", path.read_text(encoding="utf-8"))
        assert path.name.startswith(prefixes) == bool(reads_a_log)
