"""Adversarial training: where the attack on each row begins, and what that is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import make_attack, make_defense, seeds
from fastadv.defenses.training.adv_training import AdversarialTraining
from fastadv.errors import InputError
from fastadv.protocols import WarmStarted
from fastadv.seeds import Stream

X, Y = blobs(60)


class Anew:
    """An attack from outside that cannot begin at given images."""

    name, reference, needs = "anew", "a test", frozenset[str]()

    def threat(self) -> None: ...
    def supports(self, *_: Any) -> None: ...
    def perturb(self, *_: Any, **__: Any) -> None: ...

    def craft(self, model: Any, x: np.ndarray, *_: Any, **__: Any) -> tuple[np.ndarray, dict]:
        return x, {}


class Recorded(Anew):
    """One that can: it begins at 0, and adds 1 to the first pixel."""

    def __init__(self) -> None:
        self.met: list[tuple[np.ndarray, np.ndarray]] = []  # row numbers, where they began

    def random_start(self, x: np.ndarray, **_: Any) -> np.ndarray:
        return np.zeros_like(x)

    def craft_from(
        self, start: np.ndarray, *_: Any, stream: Stream, **__: Any
    ) -> tuple[np.ndarray, dict]:
        self.met.append((stream.ids.astype(int), start[:, 0].copy()))
        end = start.copy()
        end[:, 0] += 1
        return end, {}


@pytest.mark.parametrize("loss", ["ce", "trades"])
def test_an_attack_begins_where_that_on_the_row_ended_an_epoch_ago(loss: Any) -> None:
    attack: Any = Recorded()
    attack.name = "pgd" if loss == "trades" else attack.name
    twice = np.concatenate([X[:30], X[:30]])  # a row is known by its number, not by its pixels
    defense = AdversarialTraining(attack, epochs=3, batch_size=16, loss=loss)
    defense.fit(small_mlp(), twice, Y, task=TASK, seed=0)
    rows = np.concatenate([ids for ids, _ in attack.met])
    begun = np.concatenate([start for _, start in attack.met])
    for epoch in range(3):
        part = slice(60 * epoch, 60 * (epoch + 1))
        np.testing.assert_array_equal(np.sort(rows[part]), np.arange(60))
        np.testing.assert_array_equal(begun[part], epoch)


def test_attacks_that_cannot_begin_elsewhere_begin_anew() -> None:
    attack: Any = Anew()
    assert not isinstance(attack, WarmStarted)
    AdversarialTraining(attack, epochs=1).fit(small_mlp(), X, Y, task=TASK, seed=0)
    with pytest.raises(InputError, match="warm=true needs an attack such as pgd, got anew"):
        AdversarialTraining(attack, warm=True)
    with pytest.raises(InputError, match="warm=true needs an attack such as pgd, got fgsm"):
        make_defense("adv_training[attack=fgsm,warm=true]")


@pytest.mark.parametrize("keep", ["best", "first", "last"])
def test_pgd_begins_where_it_is_told(keep: str) -> None:
    model, stream = small_mlp(5).fit(X, Y), Stream(seeds.derive(0, "a test"), np.arange(60))
    pgd: Any = make_attack(f"pgd[eps=0.1,steps=1,step_size=1e-6,keep={keep}]")
    given: dict[str, Any] = {"task": TASK, "stream": stream}
    alone = pgd.craft(model, X, Y, None, **given)[0]
    start = pgd.random_start(X, **given)
    from_there = pgd.craft_from(start.copy(), model, X, Y, None, **given)[0]
    np.testing.assert_array_equal(alone, from_there)
    np.testing.assert_allclose(from_there, start, atol=2e-6)
    other = np.clip(X + np.float32(0.05), 0, 1)
    found = pgd.craft_from(other.copy(), model, X, Y, None, **given)[0]
    np.testing.assert_allclose(found, other, atol=2e-6)


@pytest.mark.compiled
def test_steps_that_add_up_over_the_epochs_leave_less_to_the_attacker() -> None:
    def robust(warm: str) -> float:
        spec = f"adv_training[attack=pgd[eps=0.3,steps=1,step_size=0.05,keep=last],epochs=30,batch_size=16,warm={warm}]"
        shares = []
        for seed in range(3):
            model = small_mlp(random_state=seed, hidden_layer_sizes=(16,), learning_rate_init=0.1)
            trained = make_defense(spec).fit(model, X, Y, task=TASK, seed=seed)
            found = make_attack("pgd[eps=0.3,steps=20]").perturb(trained, X, Y, task=TASK)
            shares.append(found.robust_accuracy())
        return float(np.mean(shares))

    assert robust("true") > robust("false") + 0.03
