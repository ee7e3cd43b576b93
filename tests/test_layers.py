"""Imports run downward only: read from the code, so that the house stays as it is drawn."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "fastadv"

# A module belongs to the first prefix that it starts with.
LAYERS = [
    ("kernels", 0), ("reference", 0), ("errors", 0),
    ("arrays", 1), ("archive", 1), ("columns", 1), ("constraints", 1), ("task", 1), ("checks", 1), ("results", 1), ("protocols", 1),
    ("capabilities", 1), ("threat", 1), ("metrics", 1), ("batches", 1), ("runs", 1), ("neighbors", 1), ("seeds", 1), ("threads", 1), ("specs", 1),
    ("files", 1), ("children", 1), ("visible", 1), ("entry", 1), ("sources", 1), ("plugins", 1), ("registry", 1),
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


def imported(source: str, *, for_types: bool = True) -> list[str]:
    """Every fastadv module, or name in one, that the source imports, also inside functions.

    Those under ``if TYPE_CHECKING`` only if ``for_types``.
    """
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "an import relative to the package is not read here"
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found.extend(word.value for word in node.args if isinstance(word, ast.Constant))
        types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        skipped = node.body if types_only and not for_types else []
        for child in ast.iter_child_nodes(node):
            if child not in skipped:
                visit(child)

    visit(ast.parse(source))
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


def circle(sources: dict[str, str]) -> list[str]:
    """The modules of a circle of imports, at the top of a file or inside a function, or nothing."""
    graph = {}
    for module, source in sources.items():
        names = imported(source, for_types=False)
        modules = [name if name in sources else name.rpartition(".")[0] for name in names]
        graph[module] = {name for name in modules if name in sources and name != module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def house() -> dict[str, str]:
    sources = {}
    for path in ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if module != "__init__":  # the public names, loaded lazily, are above all layers
            sources[module.removesuffix(".__init__")] = path.read_text()
    return sources


def test_imports_run_downward_and_in_no_circle() -> None:
    sources = house()
    assert len(sources) > 40
    assert violations(sources) == []
    assert circle(sources) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("models.mlp", "from fastadv.attacks.evasion.pgd import PGD"),
        ("kernels.network.dense", "from fastadv.threads import map_chunks"),
        ("defenses.training.adv_training", "def f():\n    from fastadv.attacks.evasion import pgd"),
        ("registry", "def f():\n    from fastadv import warmup"),
        ("registry", "def f():\n    importlib.import_module('fastadv.models.mlp')"),
        ("grid.run", "import fastadv.report.table"),
        ("attacks.evasion.pgd", "from fastadv.reference import project"),
    ],
)
def test_a_planted_import_is_found(module: str, line: str) -> None:
    sources = house()
    sources[module] += "\n" + line
    assert len(violations(sources)) == 1


@pytest.mark.parametrize(
    ("module", "line", "members"),
    [
        ("specs", "from fastadv.registry import find", {"specs", "registry"}),
        ("specs", "def f():\n    from fastadv import registry", {"specs", "registry"}),
        ("task", "class A:\n    def f(self):\n        import fastadv.protocols", {"task", "protocols"}),
        ("datasets.dataset", "from fastadv.datasets import load_dataset", {"datasets", "datasets.dataset"}),
        ("warmup", "def f():\n    from fastadv.grid.run import run_grid", {"grid.run", "warmup"}),
    ],
)  # fmt: skip
def test_a_planted_circle_is_found(module: str, line: str, members: set[str]) -> None:
    sources = house()
    sources[module] += "\n" + line
    assert violations(sources) == []  # none of them runs up
    assert members <= set(circle(sources))


def test_what_is_imported_for_types_alone_makes_no_circle() -> None:
    sources = house()
    sources["specs"] += "\nif TYPE_CHECKING:\n    from fastadv import registry"
    assert circle(sources) == []


def test_kernels_and_twins_import_nothing_else() -> None:
    allowed = {"atexit", "contextlib", "errno", "functools", "itertools", "secrets", "numpy", "numba", "llvmlite", "math", "platformdirs", "hashlib", "os", "pathlib", "pickle", "shutil", "sys", "tempfile", "time", "typing", "warnings", "__future__"}  # fmt: skip
    sources = {module: text for module, text in house().items() if module != "errors"}
    for path in (Path(__file__).parent / "twins").glob("*.py"):
        sources[f"reference.{path.stem}"] = path.read_text()
        assert violations({f"reference.{path.stem}": path.read_text()}) == []
    for module, source in sources.items():
        if layer(module) == 0:
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                else:
                    continue
                for name in names:
                    root = name.split(".")[0]
                    ours = name.startswith("fastadv.") or root == "twins"
                    assert root in allowed or ours, f"{module}: {name}"
