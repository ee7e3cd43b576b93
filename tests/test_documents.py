"""ARCHITECTURE.md and CONTRIBUTING.md tell the truth: the files and names in them are there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]
PLUGIN = sorted((ROOT / "examples" / "plugin" / "fastadv_example").glob("*.py"))


def public() -> dict[str, set[str]]:
    """Return the names that CONTRIBUTING.md promises, by module; an empty set is all of it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## What a package of your own may import")[2]
    lines = re.findall(r"^- `(fastadv[\w.]*)`: (.*)$", section, re.MULTILINE)
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in lines}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    paths = re.findall(r"`((?:\.?\w[\w.-]*/)+[\w.-]*|\w+\.(?:py|md|toml|txt))`", text)
    assert len(paths) > 3
    for name in [*links, *paths]:
        assert (ROOT / name).exists(), name


def test_what_is_promised_to_packages_is_there() -> None:
    promised = public()
    assert len(promised) > 10
    for module, names in promised.items():
        for name in names:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize("path", PLUGIN, ids=lambda path: path.name)
def test_the_example_imports_nothing_else(path: Path) -> None:
    promised = public()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fastadv."):
            names = promised[str(node.module)]
            assert not names or {alias.name for alias in node.names} <= names
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("fastadv") for alias in node.names)
