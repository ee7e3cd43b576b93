"""The program in this process, with a grid that is not run."""

from __future__ import annotations

import sys
import types
from typing import Any, NamedTuple

import pytest

from fastadv.cli.app import main
from fastadv.grid.result import GridResult
from fastadv.grid.row import Figure, Row
from fastadv.threat import linf


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def program(capsys, tmp_path, monkeypatch):
    """Return a function that runs the program in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        code = main(arguments)
        return Outcome(code, *capsys.readouterr())

    return run


class FakeGrid:
    """Stands for ``fastadv.grid.run``: notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] | None = None
        self.error: BaseException | None = None
        self.statuses = ["ok"]

    def run_grid(self, **asked: Any) -> GridResult:
        self.asked = asked
        asked["progress"].start(1.0, 1, 0)
        if self.error is not None:
            raise self.error
        rows = [
            Row(
                id=f"cell{i}", dataset="mnist", model="mlp", attack="pgd", defense=f"d{i}", seed=0,
                kind="evasion", threat=linf(0.1), n=10,
                attacked_accuracy=Figure.of_count(5, 10),
                status=status, reason=None if status == "ok" else "because",
            )
            for i, status in enumerate(self.statuses)
        ]  # fmt: skip
        return GridResult(tuple(rows), tuple(rows))


@pytest.fixture
def fake_grid(monkeypatch, tmp_path):
    grid = FakeGrid()
    module = types.ModuleType("fastadv.grid.run")
    module.run_grid = grid.run_grid
    monkeypatch.setitem(sys.modules, "fastadv.grid.run", module)
    (tmp_path / "fastadv-results").mkdir()
    return grid
