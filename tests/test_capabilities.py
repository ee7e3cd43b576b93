"""What an object from outside can do is asked in one place, and asked of what is then used."""

from __future__ import annotations

import ast
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp
from test_layers import house

from fastadv import InputError, MLPClassifier, capabilities
from fastadv.protocols import (
    Classifier,
    EvasionAttack,
    Features,
    Layered,
    Logits,
    LossTrainable,
    Model,
)

X, Y = blobs()

# What is asked with a default that is no question of what an object from outside can do.
NO_CAPABILITY = {
    "threads": {"os", "_here"}, "cli.errors": {"error"}, "cli.app": {"stream"},
    "specs": {"kind", "raw", "self", "estimator"}, "benchmarks.peers.evasion": {"attack"},
    "models.adapters.identity": {"thing"}, "models.adapters.function": {"self"},
    "datasets.images": {"picture"},  # of Pillow
    "files": {"os"}, "grid.store": {"os"}, "cli.signals": {"signal"},  # of the operating system
    # Of scikit-learn, PyTorch and Dask, whose classes are known.
    "models.implicit.refit": {"model"}, "models.implicit.rescaling": {"step"}, "models.module_descent": {"out"},
    "models.adapters.skops_parts": {"ensemble", "machine", "neighbors", "one", "part"}, "grid.executors.cluster": {"error"},
    "models.onnx_export": {"model"},
}  # fmt: skip
# Where plug-ins come in, and what they are is asked.
DOORS = (
    "registry", "plugins", "manual", "models.adapters.own", "models.adapters.pytorch", "models.adapters.scikit",
)  # fmt: skip


def questions(source: str) -> list[str]:
    """Of whom ``hasattr``, and ``getattr`` with a default, is asked."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call.args[0])
        for call in calls
        if isinstance(call.func, ast.Name)
        and (call.func.id, len(call.args)) in (("hasattr", 2), ("getattr", 3))
    ]


def test_capabilities_are_asked_in_one_place() -> None:
    assert len(questions(house()["capabilities"])) > 10
    for module, source in house().items():
        if module != "capabilities" and not module.startswith(DOORS):
            asked = set(questions(source))
            assert asked <= NO_CAPABILITY.get(module, set()), f"{module} asks of {asked}"


def test_a_planted_question_is_found() -> None:
    assert questions("def f(model):\n    return hasattr(model, 'vjp') or getattr(model, 'a', 1)") == [
        "model", "model",
    ]  # fmt: skip
    assert questions("getattr(self, name)") == []


class OnlyLogits:
    """A model of someone's own that tells its logits, and nothing else."""

    def __init__(self, inside: MLPClassifier) -> None:
        self._inside = inside

    def logits(self, x: np.ndarray) -> np.ndarray:
        return self._inside.vjp(x)[0]


class LogitsAndGradient(OnlyLogits):
    def input_gradient(self, x: np.ndarray, dlogits: np.ndarray) -> np.ndarray:
        return self._inside.vjp(x)[1](dlogits)


class Pulls:
    def __init__(self, inside: MLPClassifier) -> None:
        self.vjp = inside.vjp


@pytest.fixture(scope="module")
def model() -> MLPClassifier:
    return small_mlp().fit(X, Y)


def test_what_a_model_lacks_is_filled_in(model: MLPClassifier) -> None:
    logits, pullback = model.vjp(X)
    for own in (OnlyLogits(model), LogitsAndGradient(model), Pulls(model)):
        made = capabilities.adapted(own, TASK)
        assert capabilities.able(made, Classifier)
        assert capabilities.able(made, Model) == capabilities.differentiable(own)
        assert capabilities.adapted(made, TASK) is made
        assert not capabilities.made_here(made)
        assert capabilities.class_of(made) == type(own).__name__
        np.testing.assert_array_equal(made.predict(X), model.predict(X))
        if capabilities.differentiable(own):
            found = made.vjp(X)
            np.testing.assert_array_equal(found[0], logits)
            np.testing.assert_array_equal(found[1](logits), pullback(logits))
    assert capabilities.adapted(model, TASK) is model
    with pytest.raises(InputError, match="MLPClassifier is not trained: call its fit first"):
        capabilities.adapted(MLPClassifier(), TASK)
    with pytest.raises(InputError, match=r"object has no logits \(vjp or logits\)"):
        capabilities.adapted(object(), TASK)


def test_what_is_missing_is_said(model: MLPClassifier) -> None:
    assert capabilities.missing(small_mlp(), Logits, Layered, LossTrainable, Features) is None
    said = capabilities.missing(OnlyLogits(model), Features)
    assert said == "a model that tells its features; OnlyLogits has no features"
    said = capabilities.missing(small_mlp(), Layered, parameters=("max_iter", "depth"))
    assert said == "to set depth, which MLPClassifier does not have"


class Silent:
    """An attack that says '' where it has nothing to say, and lacks everything else."""

    name: ClassVar[str] = "silent"

    def supports(self, *_: Any) -> str:
        return ""

    def craft(self, *_: Any, **__: Any) -> None: ...


class Named(Silent):
    """It has the control's name, which does not make it the control."""

    name: ClassVar[str] = "none"


def test_what_attacks_and_defenses_say(model: MLPClassifier) -> None:
    assert capabilities.supports(Silent(), model, TASK) is None
    assert capabilities.lacks(Silent(), EvasionAttack) == [
        "needs",
        "perturb",
        "reference",
        "threat",
    ]
    with pytest.raises(InputError, match="Silent is no EvasionAttack: it lacks needs, perturb"):
        capabilities.kind_of(Silent())
    with pytest.raises(InputError, match="Named is no EvasionAttack"):
        capabilities.kind_of(Named())
    for asked, nothing in (
        (capabilities.refuses(object(), Silent()), None),
        (capabilities.warns(object(), 3, TASK), None), (capabilities.learns(object(), TASK), None),
        (capabilities.trained_class(object()), None), (capabilities.unsettled(object()), None),
        (capabilities.gradient_kind(model), "exact"), (capabilities.randomised(model), False),
        (capabilities.minimum_norm(Silent()), False), (capabilities.replaces(Silent()), False),
        (capabilities.bound(object, TASK, X), object),
    ):  # fmt: skip
        assert asked == nothing
