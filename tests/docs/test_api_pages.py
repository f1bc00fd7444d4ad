"""The pages of the API reference, as Sphinx writes them."""

from pathlib import Path

import pytest

import skue
import skue.datasets
import skue.serving

pytest.importorskip("numpydoc")
application = pytest.importorskip("sphinx.application")

DOCS = Path(__file__).parents[2] / "docs"
THINGS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (skue, skue.datasets, skue.serving)
    for name in module.__all__
    if name != "share_items"  # has no example
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the text of each public name's page, without methods."""
    folder = tmp_path_factory.mktemp("pages")
    for name, thing in THINGS.items():
        kind = "class" if isinstance(thing, type) else "function"
        (folder / f"{name}.rst").write_text(
            f"{name}\n{'=' * len(name)}\n\n.. auto{kind}:: {name}\n"
        )
    (folder / "index.rst").write_text("index\n=====\n")
    settings = {
        "extensions": ["sphinx.ext.autodoc", "numpydoc"],
        "templates_path": [str(DOCS / "_templates")],
        "numpydoc_show_class_members": False,
    }
    build = folder / "build"
    app = application.Sphinx(
        folder, None, build, build, "text", settings, status=None, warning=None
    )
    app.build()
    return {name: (build / f"{name}.txt").read_text("utf-8") for name in THINGS}


@pytest.mark.parametrize("name", THINGS)
def test_a_page_shows_its_example_before_parameters_and_attributes(pages, name):
    text = pages[name]
    assert ">>> " in text
    opening = text[: text.index(">>> ")]
    assert len(opening.split()) > 5  # the summary stands before the example
    for heading in ("Parameters:", "Attributes:", "Returns:", "Raises:", "-[ Notes ]-"):
        assert heading not in opening


def test_parameters_are_still_on_the_page(pages):
    assert "Parameters:" in pages["skue.DecayAverageUserEncoder"]
