"""Very sure models: logits times a power of ten are no defense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastadv import Dataset, MLPClassifier, load_dataset, make_attack, registry

GRADIENT = [
    entry.name
    for entry in registry.ATTACKS
    if entry.kind == "evasion" and "gradient" in make_attack(entry.name).needs
]
OTHERS = [
    "fgsm[norm=l2,eps=1]", "pgd[norm=l2,eps=1]", "pgd[keep=first]", "apgd[steps=20,targets=2]",
    "apgd[loss=dlr,steps=20]", "deepfool[norm=linf]", "stadv[max_shift=0.4]",
]  # fmt: skip


class Times:
    """A model whose logits are multiplied."""

    def __init__(self, model: Any, factor: float) -> None:
        self.model, self.factor, self.classes_ = model, np.float32(factor), model.classes_

    def vjp(self, x: np.ndarray) -> Any:
        logits, pullback = self.model.vjp(x)
        return logits * self.factor, lambda d: pullback(d * self.factor)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("mnist[train=6000,val=100,test=400]")


@pytest.fixture(scope="module", params=["logistic", "relu"])
def model(request: pytest.FixtureRequest, data: Dataset) -> MLPClassifier:
    rate = 0.5 if request.param == "logistic" else 0.1
    made = MLPClassifier((64,), request.param, learning_rate_init=rate)
    return made.fit(data.x_train, data.y_train)


def left(model: Any, text: str, data: Dataset) -> float:
    found = make_attack(text).perturb(model, data.x_test, data.y_test, task=data.task)
    return 100 * float(np.mean(~found.misclassified & ~found.success))


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("text", [*GRADIENT, *OTHERS])
def test_no_attack_is_weaker_by_more_than_a_point(
    text: str, model: MLPClassifier, data: Dataset
) -> None:
    usual = left(model, text, data)
    for factor in (10, 1e6):
        assert left(Times(model, factor), text, data) <= usual + 1.0
