"""TRADES: its gradient against central differences, its ascent against noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs

from fastadv import registry
from fastadv.defenses.training.adv_training import AdversarialTraining, _Attacker, _Divergent
from fastadv.errors import InputError
from fastadv.models.mlp import MLPClassifier
from fastadv.reference import dense, loss
from fastadv.seeds import Stream

X, Y = blobs(30)
SHIFT = np.random.default_rng(4).uniform(-0.3, 0.3, X.shape).astype(np.float32)


class Shifted:
    """An attack whose images are known: x + SHIFT."""

    name = "pgd"
    reference, needs = "a test", frozenset[str]()

    def threat(self) -> None: ...
    def supports(self, *_: Any) -> None: ...
    def perturb(self, *_: Any, **__: Any) -> None: ...

    def craft(self, model: Any, x: np.ndarray, *_: Any, **__: Any) -> tuple[np.ndarray, dict]:
        return x + SHIFT, {}


@pytest.mark.parametrize("shape", [(), (5,), (5, 4)])
def test_the_gradient_is_central_differences(shape: tuple[int, ...]) -> None:
    model = MLPClassifier(shape, batch_size=10, max_iter=3).fit(X, Y)
    network = model.network()
    defense = AdversarialTraining(attack=Shifted(), loss="trades", beta=2.5)  # type: ignore[arg-type]
    out = np.empty_like(network.params)
    attacker = _Attacker(defense.attack, None, TASK, seed=0)
    total = defense._trades(attacker)(model, X, np.arange(30), Y, out)

    def expected(params: np.ndarray) -> float:
        shares, losses = [], np.empty(30)
        for x in (X, X + SHIFT):
            hidden, logits = np.empty(30 * sum(shape)), np.empty((30, 3))
            dense.forward(
                x.astype(float), params, network.sizes, network.activation, hidden, logits
            )
            share = np.empty_like(logits)
            loss.softmax(logits, share)
            shares.append(share)
            if x is X:
                loss.cross_entropy(logits, Y, losses, np.empty_like(logits))
        p, q = shares
        return float(losses.sum() + 2.5 * (p * np.log(p / q)).sum())

    params = network.params.astype(float)
    assert total == pytest.approx(expected(params), rel=1e-5)
    numeric = np.empty_like(params)
    for k in range(params.size):
        up, down = params.copy(), params.copy()
        up[k] += 1e-6
        down[k] -= 1e-6
        numeric[k] = (expected(up) - expected(down)) / 2e-6
    np.testing.assert_allclose(out, numeric, atol=1e-4 * np.abs(numeric).max())


def test_the_attack_climbs_the_divergence() -> None:
    model = MLPClassifier((8,), batch_size=10, max_iter=10).fit(X, Y)
    p = model.predict_proba(X).astype(np.float32)
    key = Stream(1, np.arange(30, dtype=np.uint64))

    def divergence(spec: str) -> float:
        attack = registry.make_attack(spec)
        x_adv, _ = attack.craft(_Divergent(model, p), X, Y, None, task=TASK, stream=key)
        return float((p * np.log(p / model.predict_proba(x_adv))).sum())

    assert divergence("pgd[eps=0.1,steps=5,keep=last]") > 3 * divergence("noise[eps=0.1]")


def test_trades_trains_and_takes_only_pgd() -> None:
    spec = (
        "adv_training[loss=trades,epochs=12,batch_size=10,attack=pgd[eps=0.02,steps=2,keep=last]]"
    )
    untrained = MLPClassifier((8,), learning_rate="constant", learning_rate_init=0.1)
    model = registry.make_defense(spec).fit(untrained, X, Y, task=TASK, seed=0)
    assert (model.predict(X) == Y).mean() > 0.9
    with pytest.raises(InputError, match="loss=trades steps by pgd, got attack=fgsm"):
        registry.make_defense("adv_training[loss=trades,attack=fgsm]")
