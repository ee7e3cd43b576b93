"""Formulas as MathML, which browsers draw themselves: no script, no fonts, no images."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_UNKNOWN = re.compile(r"\\(arg)\b")  # operators that the converter does not know


def mathml(latex: str, display: str) -> str:
    """Return a formula as MathML.

    Raises
    ------
    ExtensionError
        If it has a command that the converter does not know, and would print.
    """
    converted: str = convert(_UNKNOWN.sub(r"\\operatorname{\1}", latex), display=display)
    if "\\" in converted:
        raise ExtensionError(f"cannot be written in MathML: {latex}")
    return converted


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula of its own; a wide one scrolls within its box."""
    translator.body.append(f'<div class="math" tabindex="0">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
