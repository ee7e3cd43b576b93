"""Poison that knows the defense: who is told, and that both figures stand in the row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import SMALL_MLP, write_npz

from fastadv import registry, run_grid, threat
from fastadv.attacks.poisoning.base import Poisoning
from fastadv.attacks.poisoning.label_flip import LabelFlip
from fastadv.attacks.poisoning.problem import Crafted, Problem
from fastadv.grid.row import Row
from fastadv.protocols import Wrapper
from fastadv.registry import Entry
from fastadv.results import PoisonResult


@dataclass(frozen=True)
class Knowing(Poisoning):
    """Random flips, which a wrapper turns into copies under the label 0."""

    fraction: float = 0.03
    points: int | None = None

    name: ClassVar[str] = "knowing"
    reference: ClassVar[str] = "a test"

    def adapts(self, defense: Any) -> bool:
        return isinstance(defense, Wrapper)

    def baseline(self, n_clean: int) -> LabelFlip:
        return LabelFlip(points=self.n_points(n_clean))

    def craft(self, problem: Problem) -> Crafted:
        rows = np.arange(problem.n_points) % len(problem.X)
        labels = (problem.y[rows] + 1) % len(problem.classes)
        labels = labels if problem.defense is None else np.zeros_like(labels)
        return Crafted(problem.X[rows], labels, rows)


@dataclass(frozen=True)
class Old:
    """An attack of another package, made before attacks were told the defense."""

    name: ClassVar[str] = "old"
    reference: ClassVar[str] = "a test"
    needs: ClassVar[frozenset[str]] = frozenset()

    def threat(self) -> threat.Threat:
        return threat.poison(0.03)

    def supports(self, model: Any, task: Any) -> str | None:
        return None

    def n_points(self, n_clean: int) -> int:
        return 1

    def baseline(self, n_clean: int) -> None:
        return None

    def poison(
        self, model: Any, X_train: Any, y_train: Any, X_val: Any, y_val: Any, *, task: Any,
        seed: int = 0, project: Any = None,
    ) -> PoisonResult:  # fmt: skip
        X, y = np.concatenate([X_train, X_train[:1]]), np.concatenate([y_train, y_train[:1]])
        return PoisonResult(X, y, np.array([len(X_train)]), np.empty(0))

    evaluate = Knowing.evaluate


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"knowing": Knowing, "old": Old}
    entries = [Entry(name, "poisoning", "a test", f"{__name__}:{name}") for name in made]
    load = Entry.load
    monkeypatch.setattr(Entry, "load", lambda self: made.get(self.name) or load(self))
    monkeypatch.setitem(registry.REGISTRY, "attack", [*registry.ATTACKS, *entries])


def test_what_knows_the_defense_stands_beside_what_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grid(folder: str) -> dict[str, Row]:
        found = run_grid(
            repeats=1, attacks=["knowing[points=500]"], defenses=["none", "median", "bit_depth", "knn_relabel"],
            dataset=write_npz(tmp_path / "d.npz", n=300), model=SMALL_MLP, samples=20,
            output=tmp_path / folder,
        )  # fmt: skip
        return {row.defense: row for row in found if row.kind == "poisoning"}

    rows = grid("knows")
    wrappers = {"median", "bit_depth"}
    assert {d for d in rows if rows[d].oblivious_accuracy is not None} == wrappers
    assert {d for d in rows if rows[d].notes} == {"knn_relabel"}
    kept = [dict(np.load(path)) for path in (tmp_path / "knows" / "stages").glob("*.npz")]
    labels = [set(arrays["labels"]) for arrays in kept if len(arrays.get("rows", ())) == 500]
    # The one that knows neither, and the flips; what knows a defense goes with its row.
    assert labels == [{0, 1, 2}] * 2
    monkeypatch.setattr(Knowing, "adapts", lambda *_: False)
    unknowing = grid("knows not")
    assert {d for d in unknowing if unknowing[d].notes} == {"knn_relabel", *wrappers}
    for defense in wrappers:
        oblivious = rows[defense].oblivious_accuracy
        assert oblivious == unknowing[defense].attacked_accuracy != rows[defense].attacked_accuracy


def test_an_attack_that_takes_no_defense_is_asked_without(tmp_path: Path) -> None:
    rows = run_grid(
        repeats=1, attacks=["old"], defenses=["none", "median", "sphere_slab"],
        dataset=write_npz(tmp_path / "d.npz", n=300), model=SMALL_MLP, samples=20,
    )  # fmt: skip
    old = {row.defense: row for row in rows if row.attack == "old"}
    assert [row.reason for row in old.values()] == [None] * 3
    assert {defense for defense, row in old.items() if row.notes} == {"median", "sphere_slab"}
    assert all(row.oblivious_accuracy is None for row in old.values())
