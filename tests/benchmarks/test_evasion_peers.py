"""The comparison with other libraries: what can be tested where they are not installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from helpers import TASK, blobs

from fastadv import MLPClassifier
from fastadv.benchmarks.peers import evasion
from fastadv.errors import InputError
from fastadv.grid.registry import make_attack
from fastadv.protocols import Floats, Labels, Task

X, Y = blobs()


def test_a_library_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="torch is not installed; comparing with it needs pip"):
        evasion.compare(MLPClassifier((4,), max_iter=1).fit(X, Y), X, Y, task=TASK)


def test_every_spec_that_is_compared_builds() -> None:
    for text, peers in evasion.PEERS.items():
        assert make_attack(text)
        assert set(peers) <= {"torchattacks", "foolbox"}


def test_both_sides_are_judged_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that gives what ours gives is as strong; one that leaves box or budget is not."""
    model = MLPClassifier((6,), batch_size=16, max_iter=6).fit(X, Y)

    def same(model: MLPClassifier, X: Floats, y: Labels, task: Task) -> Floats:
        return make_attack("pgd[eps=0.2]").perturb(model, X, y, task=task).x_adv

    def outside(model: MLPClassifier, X: Floats, y: Labels, task: Task) -> Floats:
        return same(model, X, y, task) + np.where(X.argmax(axis=1) >= 0, 1.0, 0.0)[:, None]

    def too_far(model: MLPClassifier, X: Floats, y: Labels, task: Task) -> Floats:
        return make_attack("pgd[eps=0.4]").perturb(model, X, y, task=task).x_adv

    monkeypatch.setattr(evasion, "_require", lambda _: None)
    peers = {"torchattacks": same, "foolbox": outside, "third": too_far}
    monkeypatch.setitem(evasion.PEERS, "pgd[eps=0.2]", peers)
    rows = evasion.compare(model, X, Y, task=TASK, attacks=["pgd[eps=0.2]"], libraries=tuple(peers))
    clean = float(np.mean(model.predict(X) == Y))
    assert [row.library for row in rows] == list(peers)
    assert rows[0].peer_accuracy == rows[0].accuracy < clean
    assert rows[1].peer_accuracy == clean
    assert rows[2].peer_accuracy > rows[0].accuracy
    assert rows[2].peer_distance == pytest.approx(0.4, rel=1e-4)
    with pytest.raises(InputError, match="no peer of 'noise'"):
        evasion.compare(model, X, Y, task=TASK, attacks=["noise"], libraries=())
