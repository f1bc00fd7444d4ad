"""Write the tables of measured figures into the pages, from the JSON files of the benchmarks.

Usage: python docs/measured_tables.py          # write them
       python docs/measured_tables.py --check  # exit with 1 if a page has other figures

A page marks the place of a table with a comment that names its kind and its files:

    <!-- table: peers benchmarks/peers-amazon-beauty.json -->
    <!-- end -->

What stands there is left as it is while one of the files is missing.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from _tables import KINDS  # noqa: E402

PLACE = re.compile(r"(<!-- table: (\w+) ([^>]*?) -->\n).*?(<!-- end -->)", re.S)


def pages():
    """Return the pages that have tables."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    paths = [path for path in paths if "_build" not in path.parts]
    return [path for path in paths if PLACE.search(path.read_text(encoding="utf-8"))]


def filled(text):
    """Return the text of a page with its tables."""
    return PLACE.sub(_table, text)


def _table(place):
    head, kind, names, end = place.groups()
    files = [ROOT / name for name in names.split()]
    if not all(file.exists() for file in files):
        return place.group(0)
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return f"{head}\n{KINDS[kind](*found)}\n{end}"


def main(option=None):
    """Write or check the tables; return the exit status."""
    different = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            different.append(path)
            if option != "--check":
                path.write_text(filled(text), encoding="utf-8")
    for path in different:
        print(f"{path.relative_to(ROOT)}: {'differs' if option == '--check' else 'written'}")
    return 1 if different and option == "--check" else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
