"""A model says how many rows it wants at once and from which threads; attacks and defenses keep to it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import make_attack, make_defense
from fastadv.attacks.evasion import without_gradient
from fastadv.attacks.evasion.probe import probe
from fastadv.attacks.evasion.without_gradient import Ways
from fastadv.batches import any_thread, batch_rows, map_rows
from fastadv.grid.trust.inspection import inspect

X, Y = blobs(45)
ATTACKS = (
    "pgd[steps=3]", "stadv[steps=4]", "square[queries=4]", "spatial", "apgd[steps=3]", "cw[steps=2]",
    "deepfool",
)  # fmt: skip


class Watched:
    """A perceptron that keeps from which threads it was called, and with how many rows."""

    def __init__(self) -> None:
        self.inner_ = small_mlp().fit(X, Y)
        self.classes_ = self.inner_.classes_
        self.threads: set[int] = set()
        self.sizes: list[int] = []

    def vjp(self, X: Any) -> Any:
        self.threads.add(threading.get_ident())
        self.sizes.append(len(X))
        return self.inner_.vjp(X)

    def logits(self, X: Any) -> Any:
        rows = getattr(self, "batch_rows", max(len(X), 1))
        return np.concatenate(
            [self.vjp(X[i : i + rows])[0] for i in range(0, max(len(X), 1), rows)]
        )

    def predict(self, X: Any) -> Any:
        return self.classes_[self.logits(X).argmax(axis=1)]


class OneThread(Watched):
    """That wants seven rows at once, from one thread."""

    batch_rows, any_thread = 7, False


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("defense", [None, "median", "bit_depth", "smoothing[draws=3]"])
@pytest.mark.compiled
def test_attacks_keep_to_what_a_model_wants(
    attack: str, defense: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastadv.attacks.evasion.base.CHUNK", 16)
    monkeypatch.setattr("fastadv.attacks.evasion.pgd.CHUNK", 16)
    monkeypatch.setattr("fastadv.attacks.evasion.stadv.CHUNK", 32)
    monkeypatch.setattr("fastadv.attacks.evasion.without_gradient.CHUNK", 16)
    monkeypatch.setattr("fastadv.attacks.evasion.probe._CHUNK", 16)
    found = []
    for model in (OneThread(), Watched()):
        met: Any = make_defense(defense).wrap(model, task=TASK) if defense else model  # type: ignore[attr-defined]
        found.append(without_gradient.perturb(make_attack(attack), met, X, Y, task=TASK))
        if isinstance(model, OneThread):
            assert model.threads == {threading.get_ident()}
            assert max(model.sizes) == (3 if defense == "smoothing[draws=3]" else 7)
        else:
            assert max(model.sizes) > 7 or defense == "smoothing[draws=3]"
            assert threading.get_ident() not in model.threads or len(model.threads) > 1
    if defense in (None, "smoothing[draws=3]"):  # each image answered and attacked for itself
        for one, usual in zip(found[0].x_adv, found[1].x_adv, strict=True):
            np.testing.assert_array_equal(one, usual)


def test_an_annealed_stand_in_takes_as_many_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or its way from smooth to sharp would go on in the next rows of the same chunk."""
    monkeypatch.setattr("fastadv.attacks.evasion.base.CHUNK", 3)
    monkeypatch.setattr("fastadv.attacks.evasion.without_gradient.CHUNK", 3)
    model = OneThread()
    met = make_defense("median").wrap(model, task=TASK)  # type: ignore[attr-defined]
    Ways(make_attack("fgsm"), met, X[:14], Y[:14], TASK).surrogate()
    assert set(model.sizes) == {7}


def test_predictions_and_inspections_keep_to_it() -> None:
    model = OneThread()
    for defense in ("median", "mean", "bit_depth", "smoothing[draws=3]"):
        met = make_defense(defense).wrap(model, task=TASK)  # type: ignore[attr-defined]
        assert not any_thread(met)
        assert batch_rows(met, 100) == (2 if "smoothing" in defense else 7)
        met.predict(X)
        inspect(met, X, Y, TASK)
        probe(met, X, Y, TASK, 20)
    make_defense("smoothing[n0=4,n=8]").certify(model, X[:20], task=TASK, seed=0)  # type: ignore[attr-defined]
    assert model.threads == {threading.get_ident()}


def test_a_model_that_says_nothing_is_called_as_usual() -> None:
    model = Watched()
    assert any_thread(model)
    assert batch_rows(model, 11) == 11
    bounds = map_rows(model, lambda start, stop: (start, stop), 25, 11)
    assert bounds == [(0, 11), (11, 22), (22, 25)]
    idents = map_rows(OneThread(), lambda *_: threading.get_ident(), 25, 11)
    assert idents == 4 * [threading.get_ident()]
