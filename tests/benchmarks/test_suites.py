"""The suites of ``fastadv bench``: what races there are, and that the products are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import write_npz

from fastadv import load_dataset
from fastadv.benchmarks import attacks, limits, training
from fastadv.benchmarks.peers.training import Problem, fastadv
from fastadv.registry import find


def test_every_evasion_attack_that_asks_the_model_is_raced() -> None:
    raced = {race.name.partition(",")[0] for race in attacks.races()}
    assert {"fgsm", "pgd", "stadv", "square", "cw"} <= raced
    assert "noise" not in raced
    assert all(find("attack", name).kind == "evasion" for name in raced)


@pytest.mark.compiled
def test_numpy_trains_as_well_as_ours(tmp_path: Path) -> None:
    data = load_dataset(write_npz(tmp_path / "small.npz", 200))
    problem = Problem(data, (6,), batch_size=16, epochs=20)
    ours, theirs = fastadv(problem)(), training.numpy(problem)()
    assert theirs["test accuracy"] == pytest.approx(ours["test accuracy"], abs=0.06)
    assert ours["test accuracy"] > 0.8


def test_products_run_for_any_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [np.ones((5, 3), np.float32), np.ones((3, 2), np.float32)]
    multiplied = []
    dot = np.dot

    def counted(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        multiplied.append(a.shape[1])
        return dot(a, b, out=out)

    monkeypatch.setattr(limits.np, "dot", counted)
    limits.attack_products(weights, np.ones((200, 5), np.float32), 3, 1.5)()
    forward, backward = 2 * 3, 2 * 1.5  # chunks times passes
    assert multiplied.count(5) == forward
    assert multiplied.count(2) == backward
