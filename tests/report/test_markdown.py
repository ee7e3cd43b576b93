"""The tables in Markdown: any name is text, read back by a parser where there is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hostile import NAMES, SCRIPT, TEXTS, hostile_grid
from hypothesis import example, given
from made_grids import default_grid

from fastadv.report.markdown import code, details_markdown, escape, grid_markdown, item
from fastadv.visible import visible

MARKUP = {"text", "text_special", "code_inline", "strong_open", "strong_close"}


def parsed(document: str) -> list[Any]:
    """The blocks of a document, by a parser of GitHub's tables and of CommonMark."""
    markdown_it = pytest.importorskip("markdown_it")
    blocks: list[Any] = (
        markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document)
    )
    return blocks


def texts(document: str, markup: set[str] = MARKUP) -> list[str]:
    """What is shown of each cell, paragraph and list item; nothing in it is other markup."""
    inline = [block for block in parsed(document) if block.type == "inline"]
    for block in inline:
        assert {child.type for child in block.children} <= markup, block.content
    return ["".join(child.content for child in block.children).strip() for block in inline]


@given(TEXTS)
@example("a\\|b")
@example("a\\\\|b")
@example("``|`")
def test_any_text_is_itself_in_a_table(text: str) -> None:
    for form in (code, escape):
        document = f"| a | {form(text)} |\n| --- | --- |\n| {form(text)} | b |\n"
        shown = visible(text).strip()
        assert texts(document) == ["a", shown, shown, "b"]


@given(TEXTS)
@example("1. a")
@example("- a")
@example("---")
def test_any_text_is_itself_in_a_heading_and_a_list(text: str) -> None:
    for document in (f"### {escape(text)}", item(text)):
        assert "".join(texts(document)) == visible(text).strip()


def test_names_as_they_are_written() -> None:
    assert code("pgd[eps=0.1]") == "`pgd[eps=0.1]`"
    assert code(SCRIPT) == f"`{SCRIPT}`"
    assert code("a|`b") == r"a\|\`b"
    assert code("a\nb") == r"a\\nb"
    assert escape(SCRIPT) == r"\<script\>alert(1)\</script\>"
    assert escape("&lt; ~~a~~ $x$ #1") == r"\&lt; \~\~a\~\~ \$x\$ \#1"
    assert escape("https://a.b www.a.b") == r"https\://a.b www\.a.b"
    assert escape("-0.1 97.9±0.2 †") == "-0.1 97.9±0.2 †"
    assert item("- a") == r"- \- a"


@pytest.mark.parametrize("form", [grid_markdown, details_markdown])
def test_a_grid_of_hostile_names(tmp_path: Path, form: Any) -> None:
    document = form(hostile_grid(tmp_path))
    assert visible(document.replace("\n", "")) == document.replace("\n", "")
    breaks = re.sub("<br>", " ", document)
    shown = texts(breaks, MARKUP | {"em_open", "em_close"})
    for name in NAMES:
        assert visible(name).strip() in shown
    tables = [b for b in parsed(breaks) if b.type in ("th_open", "td_open", "tr_open")]
    rows = sum(block.type == "tr_open" for block in tables)
    assert len(tables) - rows == rows * (len(NAMES) + 2)


def test_no_escape_is_needed_in_a_table_of_ours(tmp_path: Path) -> None:
    """A table that people read in its source, too."""
    document = grid_markdown(default_grid(tmp_path))
    assert set(re.findall(r"\\(.)", document)) <= {"*", "_"}
