"""Imports run downward only: read from the code, so that the house stays as it is drawn."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "fastadv"

# A module belongs to the first prefix that it starts with.
LAYERS = [
    ("kernels", 0), ("reference", 0), ("errors", 0),
    ("arrays", 1), ("task", 1), ("results", 1), ("protocols", 1), ("capabilities", 1),
    ("threat", 1), ("metrics", 1), ("runs", 1), ("seeds", 1), ("threads", 1), ("specs", 1),
    ("files", 1), ("entry", 1), ("plugins", 1), ("registry", 1),
    ("models", 2), ("datasets", 2),
    ("attacks", 3), ("defenses", 3),
    ("grid", 4), ("experiment", 4), ("warmup", 4), ("manual", 4),
    ("report", 5),
    ("reproduce", 6), ("benchmarks", 6),
    ("cli", 7), ("__main__", 7),
]  # fmt: skip


def layer(module: str) -> int:
    for prefix, level in LAYERS:
        if module == prefix or module.startswith(prefix + "."):
            return level
    raise AssertionError(f"fastadv.{module} has no layer; give it one in LAYERS")


def imported(source: str) -> list[str]:
    """Every fastadv module that the source imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name.removeprefix("fastadv.") for name in found if name.startswith("fastadv.")]


def violations(sources: dict[str, str]) -> list[str]:
    """``module -> imported`` for each import that runs up or across where it must not."""
    bad = []
    for module, source in sources.items():
        for name in imported(source):
            if name == "__version__":
                continue
            up = layer(name) > layer(module)
            families = {module.split(".")[0], name.split(".")[0]}
            across = families in ({"attacks", "defenses"}, {"kernels", "reference"})
            twin = name.startswith("reference") and not module.startswith(
                ("reference", "benchmarks")
            )
            if up or across or twin:
                bad.append(f"{module} -> {name}")
    return bad


def house() -> dict[str, str]:
    sources = {}
    for path in ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if module != "__init__":  # the public names, loaded lazily, are above all layers
            sources[module.removesuffix(".__init__")] = path.read_text()
    return sources


def test_imports_run_downward() -> None:
    sources = house()
    assert len(sources) > 40
    assert violations(sources) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("models.mlp", "from fastadv.attacks.evasion.pgd import PGD"),
        ("kernels.network.dense", "from fastadv.threads import map_chunks"),
        ("defenses.training.adv_training", "def f():\n    from fastadv.attacks.evasion import pgd"),
        ("grid.run", "import fastadv.report.table"),
        ("attacks.evasion.pgd", "from fastadv.reference import project"),
    ],
)
def test_a_planted_import_is_found(module: str, line: str) -> None:
    sources = house()
    sources[module] += "\n" + line
    assert len(violations(sources)) == 1


def test_kernels_and_twins_import_nothing_else() -> None:
    allowed = {"atexit", "errno", "numpy", "numba", "llvmlite", "math", "platformdirs", "hashlib", "os", "pathlib", "pickle", "shutil", "sys", "tempfile", "time", "typing", "warnings", "__future__"}  # fmt: skip
    for module, source in house().items():
        if layer(module) == 0 and module != "errors":
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                else:
                    continue
                for name in names:
                    root = name.split(".")[0]
                    assert root in allowed or name.startswith("fastadv."), f"{module}: {name}"
