"""ARCHITECTURE.md tells the truth: its files are there, and decide what it says that they do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from test_layers import LAYERS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the table below a heading."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return [[cell.strip("`") for cell in cells] for cells in lines[2:]]


QUESTIONS = rows("Where is it decided that ...")


def defined(path: Path) -> set[str]:
    """Return the names that a file defines at its top, and those of its classes as Class.name."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)}
    return found


def test_there_are_ten_questions() -> None:
    assert len(QUESTIONS) >= 10


@pytest.mark.parametrize(("question", "file", "name"), QUESTIONS)
def test_a_question_is_answered_by_a_name_that_the_file_defines(
    question: str, file: str, name: str
) -> None:
    assert name in defined(ROOT / file), question


def test_a_name_that_is_not_there_is_not_defined() -> None:
    assert "decide" not in defined(ROOT / QUESTIONS[0][1])


def test_the_floors_are_those_that_the_imports_keep_to() -> None:
    told = {
        (name, int(floor))
        for floor, names, _ in rows("Floors")
        for name in re.findall(r"\w+", names)
    }
    assert told == set(LAYERS)
