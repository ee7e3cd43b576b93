"""A look at a defended model, once for all rows that attack it: whether its gradients serve."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from fastadv.arrays import Floats, Labels
from fastadv.attacks.evasion.probe import Probe, probe
from fastadv.grid.spec import digest
from fastadv.grid.stages import Context, Fit, Stage, kept, wrapped
from fastadv.models.base import class_columns
from fastadv.protocols import Model, Wrapper
from fastadv.task import Task

_FLOOR_IMAGES = 100


def look_at(model: Model, X: Floats, y: Labels, task: Task) -> Probe:
    """Look at a defended model, as attacks meet it.

    Parameters
    ----------
    X, y : ndarray of shape (n, d) and (n,)
        Test images and their labels.
    """
    first, again = model.logits(X), model.logits(X)
    randomised = bool(getattr(model, "randomised", False)) or not np.array_equal(first, again)
    if not (hasattr(model, "vjp") or hasattr(model, "input_gradient")):
        return Probe(len(X), randomised=randomised)
    found = probe(model, X, class_columns(model, y), task, _FLOOR_IMAGES)
    return msgspec.structs.replace(found, randomised=randomised)


@dataclass(frozen=True)
class Look:
    """Probe the defended model, as attacks meet it, on their test images."""

    fit: Fit
    weight: float = field(default=0.3, compare=False)

    def key(self, context: Context) -> str:
        """Return the hash of the inputs."""
        wraps = isinstance(self.fit.defense.thing, Wrapper)
        wrapper = self.fit.defense.canonical if wraps else "none"
        return digest("look", self.fit.key(context), wrapper, context.grid.samples, self.fit.seed)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.fit.defense.text}: probing its gradients"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        return [self.fit]

    def run(self, context: Context) -> None:
        """Probe and keep what shows."""
        data, rows, key = context.dataset, context.test_rows, self.key(context)
        model = wrapped(self.fit.defense.thing, self.fit.model(context), context)
        found = look_at(model, data.x_test[rows], data.y_test[rows], data.task)
        context.store.save_stage(key, {"found": np.array(msgspec.json.encode(found).decode())})
        context.store.finish_stage(key, {})

    def found(self, context: Context) -> Probe:
        """Return what showed."""
        return msgspec.json.decode(str(kept(context, self)["found"]), type=Probe)
