"""The stages that try a trained model: attacks on test images, its gradients, certificates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays
from fastadv.attacks.evasion import without_gradient
from fastadv.grid.blocks import blocks
from fastadv.grid.cell import Choice, Dealt
from fastadv.grid.context import Context
from fastadv.grid.found import result_of
from fastadv.grid.stages.base import Inputs, Made, Stage
from fastadv.grid.stages.training import Fit, bears_on_training, wraps
from fastadv.grid.trust.inspection import inspect_all
from fastadv.results import EvasionResult


class OfFit:
    """Base of the stages that need a training alone, and the images of its run.

    A subclass has fields of these names.
    """

    fit: Fit
    dealt: Dealt

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the training."""
        return {"fit": self.fit}

    def _images(self, context: Context) -> tuple[object, ...]:
        """Return what says which images they are."""
        return context.grid.samples, *self.dealt, self.fit.seed


N_EXAMPLES = 16  # kept of each cell, to look at


@dataclass(frozen=True)
class Perturb(OfFit):
    """Attack a block of the test images, through the defense's wrapper if ``adaptive``.

    The attacked images themselves are kept where an attack through a wrapper can ask for them.
    """

    attack: Choice
    fit: Fit
    dealt: Dealt
    adaptive: bool = True
    block: int = 0
    weight: float = field(default=0.4, compare=False)

    @property
    def _through(self) -> bool:
        """Whether it meets what stands before the model."""
        return self.adaptive and wraps(self.fit.defense.made)

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the training; and what is found without the wrapper, to be shown to it."""
        unknowing = {"oblivious": replace(self, adaptive=False)} if self._through else {}
        return super().needs(context) | unknowing

    def rows(self, context: Context) -> npt.NDArray[np.intp]:
        """Return which test images they are."""
        rows = context.test_rows(self.dealt)
        return rows[blocks(len(rows))[self.block]]

    def label(self) -> str:
        """Return what a user reads while it runs."""
        how = "" if self.adaptive else ", oblivious to the defense"
        part = f", block {self.block + 1}" if self.block else ""
        attacks = f"{self.attack.text}: attacking {self.fit.defense.text}{how}"
        return f"{attacks}, seed {self.fit.seed}{part}"

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the attack hangs on."""
        wrapper = _wrapper(self.fit.defense) if self.adaptive else "none"
        n = len(context.test_rows(self.dealt))
        return self.attack.canonical, wrapper, *self._images(context), blocks(n)[self.block]

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Attack, and return what was found of each image, and some images or all."""
        data, rows, fit = context.dataset, self.rows(context), inputs["fit"]
        X, y, task, seed = data.x_test[rows], data.y_test[rows], data.task, self.fit.seed
        attack, bare, oblivious = self.attack.made, None, None
        model = (self.fit.defended if self.adaptive else self.fit.model)(fit, context)
        if self._through:
            bare = self.fit.model(fit, context)
            unknowing = inputs["oblivious"]
            oblivious = result_of([unknowing], unknowing.arrays["x_adv"])
        result = without_gradient.perturb(
            attack, model, X, y, task=task, seed=seed, undefended=bare, oblivious=oblivious
        )
        facts: dict[str, Any] = {"queries": result.queries}
        if without_gradient.applies(attack, model):
            account = without_gradient.account(
                attack, model, X, y, result, task=task, seed=seed, undefended=bare
            )
            facts["found"] = msgspec.to_builtins(account)
        arrays = self._found(result, context)
        if oblivious is not None:
            shown = np.where(oblivious.success[:, None], oblivious.x_adv, X)
            arrays["survives_oblivious"] = model.predict(shown) == y
        low, high = task.bounds
        facts["outside"] = bool(result.x_adv.min() < low or result.x_adv.max() > high)
        facts["n_impossible"] = task.n_impossible(X, result.x_adv)
        return Made(arrays | {"attacked": model.predict(result.x_adv)}, facts)

    def _found(self, result: EvasionResult, context: Context) -> Arrays:
        """Return what is kept of a result."""
        arrays: Arrays = {f"distance_{name}": values for name, values in result.distances.items()}
        defense = self.fit.defense.made
        shared = not self.adaptive or not (wraps(defense) or bears_on_training(defense))
        return arrays | ({"x_adv": result.x_adv} if shared else {}) | {
            "examples_adv": result.x_adv[:N_EXAMPLES], "is_adv": result.is_adv,
            "success": result.success, "misclassified": result.misclassified,
        }  # fmt: skip


def _wrapper(defense: Choice) -> str:
    return defense.canonical if wraps(defense.made) else "none"


@dataclass(frozen=True)
class Inspect(OfFit):
    """Look at the gradients of the defended model, as attacks meet it, on their test images."""

    fit: Fit
    dealt: Dealt
    weight: float = field(default=0.1, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.fit.defense.text}: inspecting its gradients, seed {self.fit.seed}"

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the inspection hangs on."""
        return _wrapper(self.fit.defense), *self._images(context)

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Inspect, and return what shows."""
        data, rows = context.dataset, context.test_rows(self.dealt)
        model = self.fit.defended(inputs["fit"], context)
        shown = inspect_all(model, data.x_test, data.y_test, rows, data.task)
        return Made({}, {"probe": msgspec.to_builtins(shown)})


@dataclass(frozen=True)
class Certify(OfFit):
    """Certify, for each test image that evasion attacks get, how far no attack can change it."""

    fit: Fit
    dealt: Dealt
    weight: float = field(default=3.0, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.fit.defense.text}: certifying, seed {self.fit.seed}"

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the certificates hang on."""
        return self.fit.defense.canonical, *self._images(context)

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Certify, and return labels and radii."""
        x, task, rows = context.dataset.x_test, context.dataset.task, context.test_rows(self.dealt)
        model, certify = self.fit.model(inputs["fit"], context), self.fit.defense.made.certify
        found = [
            certify(model, x[rows[part]], task=task, seed=self.fit.seed)
            for part in blocks(len(rows))
        ]
        label, radius = [one.label for one in found], [one.radius for one in found]
        return Made({"label": np.concatenate(label), "radius": np.concatenate(radius)}, {})
