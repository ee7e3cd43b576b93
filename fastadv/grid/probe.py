"""A look at a defended model, once for all rows that attack it: whether its gradients serve."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from fastadv.attacks.evasion.base import CHUNK, Counted
from fastadv.attacks.evasion.loss import cross_entropy_ascent
from fastadv.attacks.evasion.pgd import PGD
from fastadv.grid.spec import digest
from fastadv.grid.stages import Context, Fit, Stage, kept, wrapped
from fastadv.models.base import class_columns
from fastadv.protocols import Floats, Labels, Model, Task, Wrapper
from fastadv.threads import map_chunks

_FLOOR_IMAGES = 100
_FLOOR_STEPS = 20


class Probe(msgspec.Struct, frozen=True):
    """What one look at a defended model shows.

    Attributes
    ----------
    n : int
        Images that were looked at.
    zero_gradients : int
        Of those that the model gets right, how many have no gradient of what attacks climb.
    randomised : bool
        The logits of one image are not always the same, or the model says that only its draws
        make them so.
    floor_accuracy, floor_n, chance : float, int, float
        What PGD leaves of ``floor_n`` images at ``floor_eps``, where every image can become plain
        grey, and what a model that sees nothing but grey would get right; None without gradients.
    """

    n: int
    zero_gradients: int = 0
    randomised: bool = False
    floor_accuracy: float | None = None
    floor_eps: float = 0.0
    floor_n: int = 0
    chance: float = 0.0


def probe(model: Model, X: Floats, y: Labels, task: Task, seed: int) -> Probe:
    """Look at a defended model, as attacks meet it.

    Parameters
    ----------
    X, y : ndarray of shape (n, d) and (n,)
        Test images and their labels.
    """
    first, again = model.logits(X), model.logits(X)
    randomised = bool(getattr(model, "randomised", False)) or not np.array_equal(first, again)
    low, high = task.bounds
    floor = PGD(eps=0.5 * (high - low), steps=_FLOOR_STEPS)
    if floor.supports(model, task) is not None:
        return Probe(len(X), randomised=randomised)
    columns = class_columns(model, y)
    zeros = map_chunks(
        lambda a, b: _zero_gradients(Counted(model), X[a:b], columns[a:b]), len(X), CHUNK
    )
    some, labels = X[:_FLOOR_IMAGES], y[:_FLOOR_IMAGES]
    found = floor.perturb(model, some, labels, task=task, seed=seed)
    return Probe(
        n=len(X),
        zero_gradients=sum(zeros),
        randomised=randomised,
        floor_accuracy=found.robust_accuracy(),
        floor_eps=floor.eps,
        floor_n=len(some),
        chance=float(np.bincount(labels).max() / len(labels)),
    )


def _zero_gradients(model: Counted, x: Floats, y: Labels) -> int:
    """Count the images that are right and whose cross-entropy has no gradient (or NaN)."""
    logits, pullback = model.vjp(x)
    gradient = pullback(cross_entropy_ascent(logits, y, None)[1])
    nothing = ~(np.abs(gradient).max(axis=1) > 0)
    return int(np.count_nonzero(nothing & (logits.argmax(axis=1) == y)))


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
        found = probe(model, data.x_test[rows], data.y_test[rows], data.task, self.fit.seed)
        context.store.save_stage(key, {"found": np.array(msgspec.json.encode(found).decode())})
        context.store.finish_stage(key, {})

    def found(self, context: Context) -> Probe:
        """Return what showed."""
        return msgspec.json.decode(str(kept(context, self)["found"]), type=Probe)
