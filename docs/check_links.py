"""Check that links in the built pages resolve and nothing is fetched from other hosts.

Usage: python docs/check_links.py docs/_build/html
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
FETCHED_RELATIONS = {"stylesheet", "preload", "icon", "shortcut icon", "modulepreload"}


class Page(HTMLParser):
    """The anchors of a page, its links and the resources it fetches."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.fetched = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        address = found.get(FETCHED.get(tag, ""))
        if address and (tag != "link" or found.get("rel", "").lower() in FETCHED_RELATIONS):
            self.links.append(address)
            self.fetched.append(address)


def problems(folder):
    """Yield one line for each broken link and for each thing fetched from another host."""
    paths = [path.resolve() for path in sorted(folder.rglob("*.html"))]
    pages = {path: Page(path) for path in paths if "_static" not in path.parts}
    if not pages:
        yield f"{folder} contains no page"
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        for address in page.fetched:
            if urlsplit(address).netloc:
                yield f"{name}: fetches {address}"
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                yield f"{name}: {link} does not exist"
            elif parts.fragment and target in pages and not _has(pages[target], parts.fragment):
                yield f"{name}: {link} has no such anchor"


def _has(page, fragment):
    # The browser resolves text fragments (#:~:text=).
    anchor = unquote(fragment).partition(":~:")[0]
    return anchor in page.anchors or anchor in {"", "top"}


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1])))
    print("\n".join(found) or "all internal links resolve")
    sys.exit(bool(found))
