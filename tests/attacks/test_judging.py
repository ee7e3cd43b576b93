"""What the base of evasion attacks does around an attack: few passes, and what it judges it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import MLPClassifier, make_attack
from fastadv.attacks.evasion.base import Evasion
from fastadv.threat import Threat, linf

X, Y = blobs(60)


@pytest.mark.parametrize(("text", "forward", "backward"), [("fgsm", 2, 1), ("noise", 2, 0)])
def test_the_pass_that_judges_before_is_the_attacks_own(
    text: str, forward: int, backward: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, passes = small_mlp(5).fit(X, Y), {"forward": 0, "backward": 0}
    vjp = MLPClassifier.vjp

    def counted(self: Any, x: np.ndarray) -> Any:
        logits, pullback = vjp(self, x)
        passes["forward"] += len(x)

        def back(dlogits: np.ndarray) -> np.ndarray:
            passes["backward"] += len(dlogits)
            return pullback(dlogits)

        return logits, back

    monkeypatch.setattr(MLPClassifier, "vjp", counted)
    make_attack(text).perturb(model, X, Y, task=TASK)
    assert passes == {"forward": 60 * forward, "backward": 60 * backward}


@dataclass(frozen=True)
class Doubles(Evasion):
    """Toward grey, in float64."""

    name: ClassVar[str] = "doubles"
    reference: ClassVar[str] = "a test"

    def threat(self) -> Threat:
        return linf(0.5)

    def craft(self, model: Any, x: np.ndarray, *_: Any, **__: Any) -> tuple[np.ndarray, dict]:
        return x.astype(np.float64) + 0.7 * (0.5 - x.astype(np.float64)), {}


def test_what_is_judged_is_what_is_returned() -> None:
    model, before = small_mlp(5).fit(X, Y), X.copy()
    found = Doubles().perturb(model, X, Y, task=TASK)
    np.testing.assert_array_equal(X, before)
    assert found.x_adv.dtype == np.float32
    assert 0 < found.is_adv.sum() < len(X)
    np.testing.assert_array_equal(found.x_adv[~found.is_adv], X[~found.is_adv])
    right = model.predict(X) == Y
    np.testing.assert_array_equal(found.is_adv, right & (model.predict(found.x_adv) != Y))
    change = np.abs(found.x_adv.astype(float) - X).max(axis=1)
    np.testing.assert_array_equal(found.distances["linf"], change)
