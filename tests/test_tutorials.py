"""The tutorials: scripts with a title that use public names alone. They run in ``make docs``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_documents import ROOT, public

import fastadv

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("plot_*.py"))

each = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield module and name of all that is taken from fastadv, in text that is a module too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if "fastadv." in alias.name)
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "fastadv":
            yield from ((str(node.module), alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "fastadv":
            yield "fastadv", node.attr
        if isinstance(node, ast.Constant) and "\nfrom fastadv" in str(node.value):
            yield from imported(ast.parse(str(node.value)))


def not_public(text: str) -> list[tuple[str, str]]:
    promised = {**public(), "fastadv": set(dir(fastadv))}
    return [
        (module, name)
        for module, name in imported(ast.parse(text))
        if module not in promised or (promised[module] and name not in promised[module])
    ]


def test_there_are_some() -> None:
    assert len(TUTORIALS) >= 7


@each
def test_it_compiles_and_has_a_title_an_introduction_and_cells(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    title, underline, blank, *introduction = str(ast.get_docstring(ast.parse(text))).splitlines()
    assert underline == "=" * len(title)
    assert not blank
    assert "".join(introduction).startswith("You will learn")
    assert text.count("\n# %%\n") >= 5
    assert "plt.show()" in text


@each
def test_it_uses_public_names_alone(path: Path) -> None:
    assert not not_public(path.read_text(encoding="utf-8"))


def test_what_is_not_public_is_found() -> None:
    text = (
        "import fastadv.grid\nimport fastadv\nfrom fastadv.kernels import images\n"
        "fastadv.Hidden\nfastadv.SVC\nfrom fastadv.seeds import Stream, derive\n"
        "'''a module\nfrom fastadv.grid.plan import make_plan\n'''\n"
    ).replace("'''a module", "'''\n")
    assert set(not_public(text)) == {
        ("fastadv.grid", ""), ("fastadv.kernels", "images"), ("fastadv", "Hidden"),
        ("fastadv.seeds", "derive"), ("fastadv.grid.plan", "make_plan"),
    }  # fmt: skip
