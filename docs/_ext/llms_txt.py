"""llms.txt beside the pages: their titles and first sentences, for language models."""

from pathlib import Path

from docutils import nodes
from sphinx.util.display import progress_message

HEADING = """# skue

> scikit-learn estimators that turn interaction histories into user vectors: for retrieval, as
> features of other models, and to serve.
"""


def first_sentence(doctree):
    """Return the first sentence of the first paragraph of a page."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) > 20:
            return text.split(". ")[0].rstrip(".:") + "."
    return ""


def write(app, exception):
    """Write the list of all pages in the order of the table of contents."""
    if exception or app.builder.name != "html":
        return
    env = app.env
    with progress_message("writing llms.txt"):
        lines, seen = [HEADING], set()
        for name in [env.config.root_doc, *env.toctree_includes.get(env.config.root_doc, [])]:
            for page in [name, *env.toctree_includes.get(name, [])]:
                if page in seen:
                    continue
                seen.add(page)
                title, about = env.titles[page].astext(), first_sentence(env.get_doctree(page))
                lines.append(f"- [{title}]({app.builder.get_target_uri(page)}): {about}")
        Path(app.outdir, "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
