"""A defense asks a model for what it uses, and uses nothing else: it works, or it says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp
from sklearn.base import BaseEstimator

from fastadv import InputError, make_attack, make_defense, registry
from fastadv.defenses.training.dpa import DPA
from fastadv.protocols import (
    Certifier,
    ModelSanitizer,
    RegionSanitizer,
    RobustTraining,
    Sanitizer,
    Wrapper,
)

X, Y = blobs(60)
FEWER = {
    "adv_training": "adv_training[epochs=1]", "bagging": "bagging[models=9,images=20]",
    "dpa": "dpa[partitions=5]", "interval": "interval[epochs=1]",
    "smoothing": "smoothing[n=60,n0=20,draws=8]",
}  # fmt: skip
TRADES = "adv_training[loss=trades,epochs=1]"


class Plain(BaseEstimator):  # type: ignore[misc]
    """A model of someone's own: it can be trained and asked for logits, and nothing else."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Plain:
        self.inside_ = small_mlp().fit(x, y)
        self.classes_ = self.inside_.classes_
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.inside_.predict(x)

    def logits(self, x: np.ndarray) -> np.ndarray:
        return self.inside_.logits(x)


class Stepping(BaseEstimator):  # type: ignore[misc]
    """A perceptron with some of what it can do, by name."""

    can: tuple[str, ...] = ()

    def __init__(self, max_iter: int = 2, batch_size: int = 16) -> None:
        self.max_iter, self.batch_size = max_iter, batch_size

    def __getattr__(self, name: str) -> Any:
        if name not in ("fit", "predict", "logits", "classes_", *self.can):
            raise AttributeError(name)
        if "_inside" not in self.__dict__:
            self._inside = small_mlp(self.max_iter, batch_size=self.batch_size)
        found = getattr(self._inside, name)
        if not name.startswith("fit"):
            return found

        def fit(x: np.ndarray, y: np.ndarray, *change: Any) -> Stepping:
            """Train, and show nothing of what is inside."""
            found(x, y, *(lambda _, *batch, ask=ask: ask(self, *batch) for ask in change))
            return self

        return fit


def that_can(*names: str) -> Any:
    return type("Some", (Stepping,), {"can": names})()


def run(defense: Any, model: Any) -> None:
    """All that a grid asks of a defense, and an attack on what comes of it."""
    if isinstance(defense, RegionSanitizer):
        defense.region(X, Y, task=TASK)
    if isinstance(defense, Sanitizer):
        defense.sanitize(X, Y, task=TASK, seed=0)
    if isinstance(defense, ModelSanitizer):
        defense.screen(model, X, Y, task=TASK, seed=0)
    trained = model
    if isinstance(defense, RobustTraining):
        trained = defense.fit(model, X, Y, task=TASK, seed=0)
    else:
        model.fit(X, Y)
    if isinstance(defense, Certifier):
        assert len(defense.certify(trained, X[:3], task=TASK, seed=0).radius) == 3
    met = defense.wrap(trained, task=TASK) if isinstance(defense, Wrapper) else trained
    found = make_attack("square[queries=9]").perturb(met, X[:9], Y[:9], task=TASK)
    assert len(found.x_adv) == 9
    pgd = make_attack("pgd[steps=2]")
    if pgd.supports(met, TASK) is None:
        pgd.perturb(met, X[:9], Y[:9], task=TASK)


@pytest.mark.parametrize("name", [*(entry.name for entry in registry.DEFENSES[1:]), "trades"])
@pytest.mark.parametrize(
    "model",
    [
        Plain(), that_can(), that_can("vjp"), that_can("fit_perturbed"), that_can("network"),
        that_can("fit_perturbed", "vjp"), that_can("fit_gradient", "parameter_vjp", "vjp"),
        that_can("fit_perturbed", "input_gradient"), that_can("network", "vjp"),
        that_can("fit_gradient", "parameter_vjp", "input_gradient"), that_can("network", "fit_gradient", "parameter_vjp"), that_can("features"),
    ],
    ids=lambda model: "-".join(getattr(model, "can", ["plain"])) or "fit",
)  # fmt: skip
def test_any_model_works_or_is_told_why_not(name: str, model: Any) -> None:
    defense = make_defense(TRADES if name == "trades" else FEWER.get(name, name))
    reason = defense.supports(model, TASK) if hasattr(defense, "supports") else None
    if reason is None:
        run(defense, model)
    else:
        assert type(model).__name__ in reason or "vjp" in reason


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("smoothing", ()), ("smoothing", ("network",)), ("median", ()), ("bit_depth", ("vjp",)),
        ("loss_trim", ()), ("trigger_scan", ("features",)), ("dpa", ()),
        ("adv_training", ("fit_perturbed", "vjp")), ("interval", ("network", "fit_gradient", "parameter_vjp")),
        ("trades", ("fit_gradient", "parameter_vjp", "vjp")),
        ("adv_training", ("fit_perturbed", "input_gradient")),
        ("trades", ("fit_gradient", "parameter_vjp", "input_gradient")),
    ],
)  # fmt: skip
def test_the_least_is_enough(name: str, can: tuple[str, ...]) -> None:
    defense = make_defense(TRADES if name == "trades" else FEWER.get(name, name))
    if hasattr(defense, "supports"):
        assert defense.supports(that_can(*can), TASK) is None


def test_votes_behind_a_filter_are_attacked_without_gradients() -> None:
    votes = DPA(partitions=5).fit(None, X, Y, task=TASK, seed=0)
    for name in ("median", "mean", "bit_depth", "smoothing[draws=8]"):
        met = make_defense(name).wrap(votes, task=TASK)
        make_attack("square[queries=9]").perturb(met, X[:9], Y[:9], task=TASK)
        with pytest.raises(InputError, match="pgd needs the model's input gradient"):
            make_attack("pgd").perturb(met, X, Y, task=TASK)
