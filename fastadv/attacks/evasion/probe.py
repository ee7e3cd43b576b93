"""Whether a model's gradients serve: they are not zero, and lead to where attacks want to go."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import msgspec
import numpy as np

from fastadv import capabilities
from fastadv.arrays import Float32, Labels, Mask
from fastadv.attacks.evasion.best import succeeds
from fastadv.attacks.evasion.loss import cross_entropy_ascent
from fastadv.batches import map_rows
from fastadv.errors import GradientWarning
from fastadv.kernels.images import project
from fastadv.metrics import wilson_interval
from fastadv.models.adapters.counting import Counted
from fastadv.task import Task

_CHUNK = 128  # images that a thread looks at
_FLOOR_STEPS = 20
_SMALL = 1e-3  # of the way to the floor, in one step
_MOST = 0.75  # of the images: a step that follows a gradient raises the loss of nearly all
_FEW = 16  # images that are looked at before an attack


class Probe(msgspec.Struct, frozen=True):
    """What a few passes show of a model.

    Attributes
    ----------
    n : int
        Images that were looked at.
    zero_gradients : int
        Of those that the model gets right, how many have no gradient of what attacks climb.
    falls : int
        Of how many a small step up the gradient lowers the loss.
    randomised : bool
        The logits of one image are not always the same, or the model says that only its draws
        make them so.
    floor_accuracy, floor_n, chance : float, int, float
        What steps along the gradient leave of ``floor_n`` images at ``floor_eps``, where every
        image can become plain grey, and how many would be right if they were; None without
        gradients.
    """

    n: int
    zero_gradients: int = 0
    falls: int = 0
    randomised: bool = False
    floor_accuracy: float | None = None
    floor_eps: float = 0.0
    floor_n: int = 0
    chance: float = 0.0


class Fault(NamedTuple):
    """What a probe shows to be wrong, and what to do."""

    name: str
    message: str
    remedy: str


def probe(model: Any, x: Float32, columns: Labels, task: Task, floor_n: int) -> Probe:
    """Look at a model that has gradients, on images x (n, d) and their columns of the logits (n,).

    The floor is sought of the first ``floor_n`` images, if there are any.
    """
    model = capabilities.adapted(model, task)
    slopes = map_rows(
        model, lambda a, b: _slopes(Counted(model), x[a:b], columns[a:b], task), len(x), _CHUNK
    )
    seen = Probe(
        len(x),
        zero_gradients=sum(zeros for zeros, _ in slopes),
        falls=sum(falls for _, falls in slopes),
    )
    some, y = x[:floor_n], columns[:floor_n]
    if not len(some):
        return seen
    left = map_rows(
        model, lambda a, b: _left_at_the_floor(Counted(model), some[a:b], y[a:b], task),
        len(some), _CHUNK,
    )  # fmt: skip
    grey = np.full((1, x.shape[1]), sum(task.bounds) / 2, dtype=np.float32)
    says = Counted(model).logits(grey)[0].argmax()
    return msgspec.structs.replace(
        seen,
        floor_accuracy=float(np.concatenate(left).mean()),
        floor_eps=_floor(task),
        floor_n=len(some),
        chance=float(np.mean(y == says)),
    )


def _slopes(model: Counted, x: Float32, y: Labels, task: Task) -> tuple[int, int]:
    """Count the right images without a gradient (or with NaN), and those that a step up lowers."""
    logits, pullback = model.vjp(x)
    losses, dlogits = cross_entropy_ascent(logits, y, None)
    gradient = pullback(dlogits)
    nothing = ~(np.abs(gradient).max(axis=1) > 0)
    stepped = x.copy()
    project.linf_step(gradient, np.full(len(x), _SMALL * _floor(task)), stepped)
    np.clip(stepped, *task.bounds, out=stepped)
    falls = cross_entropy_ascent(model.logits(stepped), y, None)[0] < losses
    if not np.array_equal(model.logits(x), logits):  # chance moves the loss as well
        falls[:] = False
    return int(np.count_nonzero(nothing & (logits.argmax(axis=1) == y))), int(falls.sum())


def _floor(task: Task) -> float:
    low, high = task.bounds
    return (high - low) / 2


def _left_at_the_floor(model: Counted, x: Float32, y: Labels, task: Task) -> Mask:
    """Return which images stay right on a way of signed steps up the cross-entropy, (n,)."""
    eps, x_adv, left = _floor(task), x.copy(), np.ones(len(x), dtype=bool)
    sizes = np.full(len(x), 2.5 * eps / _FLOOR_STEPS)
    for step in range(_FLOOR_STEPS + 1):
        logits, pullback = model.vjp(x_adv)
        left &= ~succeeds(logits, y, None)
        if step == _FLOOR_STEPS or not left.any():
            break
        gradient = pullback(cross_entropy_ascent(logits, y, None)[1])
        project.linf_step(gradient, sizes, x_adv)
        project.linf_project(x, eps, *task.bounds, x_adv)
    return left


def faults(shown: Probe, name: str) -> list[Fault]:
    """Return what a probe says of the gradients of a model of this name."""
    out = []
    if shown.zero_gradients:
        out.append(
            Fault(
                "zero_gradient",
                f"the loss of {name} has no gradient at {shown.zero_gradients:,} of {shown.n:,} "
                "images",
                "no step leads away from them; add a black-box attack such as square",
            )
        )
    right = round((shown.floor_accuracy or 0.0) * shown.floor_n)
    remedy = "more steps and restarts, apgd[loss=dlr], and a black-box attack such as square"
    if right and wilson_interval(right, shown.floor_n)[0] > shown.chance:
        message = (
            f"at eps {shown.floor_eps:g}, where every image can become plain grey, PGD leaves "
            f"{name} {100 * right / shown.floor_n:.0f} %, more than plain grey: its gradients "
            "mislead"
        )
        out.append(Fault("unreachable_floor", message, remedy))
    elif shown.falls > _MOST * shown.n:
        message = (
            f"a small step up the gradient of {name} lowers the loss at {shown.falls:,} of "
            f"{shown.n:,} images: its gradients mislead"
        )
        out.append(Fault("falling_gradient", message, remedy))
    return out


def warn_of(model: Any, x: Float32, columns: Labels, task: Task) -> None:
    """Warn of gradients, of a model from outside, that are zero or mislead on a few of the images.

    Those of fastadv's own models are tested.
    """
    if not len(x) or capabilities.made_here(model):
        return
    few = np.unique(np.linspace(0, len(x) - 1, _FEW).astype(np.intp))
    shown = probe(model, np.ascontiguousarray(x[few]), columns[few], task, len(few))
    wrong = faults(shown, capabilities.class_of(model))
    if wrong:
        said = "; ".join(fault.message for fault in wrong)
        warnings.warn(f"{said} ({wrong[-1].remedy})", GradientWarning, stacklevel=3)
