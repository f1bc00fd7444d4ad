"""Formulas as MathML, which browsers render without scripts or network access."""

import re

from docutils import nodes
from latex2mathml.converter import convert


def mathml(text, **options):
    """Convert a formula, with a thin space between a function such as log and its argument."""
    spaced = re.sub(r"(\\(?:log|exp)(?:_\w)?) +(?=[\\\w])", r"\1\\, ", text)
    return convert(spaced, **options)


def visit_math(translator, node):
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def visit_math_block(translator, node):
    formulas = [mathml(part, display="block") for part in node.astext().split("\n\n") if part]
    translator.body.append(f'<div class="formula">{"".join(formulas)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
