"""What attacks within an Lp ball share: the norm's step, projection, threat and random start."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fastadv import threat
from fastadv.arrays import Float32, Float64, Floats
from fastadv.attacks.evasion.base import Evasion
from fastadv.errors import at_least
from fastadv.kernels.images import project
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat

Norm = Literal["linf", "l2"]


class InBall(Evasion):
    """Base of the attacks within a ball; a subclass has fields of these names."""

    eps: float
    norm: Norm

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, eps=self.eps)

    def threat(self) -> Threat:
        """Return the ball."""
        return threat_of(self.norm, self.eps)


def threat_of(norm: Norm, eps: float) -> Threat:
    """Return the threat model of the ball."""
    return threat.linf(eps) if norm == "linf" else threat.l2(eps)


def step(norm: Norm, gradient: Floats, size: float | Float64, x_adv: Float32) -> None:
    """Move ``x_adv`` (n, d) up the gradient by ``size`` in the norm. Modified in place.

    ``size`` is one for all rows or one a row, (n,).
    """
    sizes = np.broadcast_to(np.asarray(size, dtype=np.float64), len(x_adv)).copy()
    take = project.linf_step if norm == "linf" else project.l2_step
    take(gradient, sizes, x_adv)


def along(norm: Norm, eps: float | None, task: Task, gradient: Floats) -> Floats:
    """Return the gradient (n, d) without the columns that cannot change within the ball.

    Itself where all can. A step along it spends nothing on them.
    """
    free = task.movable(norm, eps)
    return gradient if free is None else np.where(free, gradient, gradient.dtype.type(0))


def project_onto(norm: Norm, x: Float32, eps: float, task: Task, x_adv: Float32) -> None:
    """Bring ``x_adv`` into the ball around ``x`` and into the bounds. Modified in place."""
    onto = project.linf_project if norm == "linf" else project.l2_project
    onto(x, eps, *task.bounds, x_adv)


def random_point(
    norm: Norm, x: Float32, eps: float, task: Task, stream: Stream, draw: int
) -> Float32:
    """Return a point drawn uniformly from the ball around each row of x, cut to the bounds.

    Uniform in the ball: for L2 a normal direction times eps u^(1/d). Of columns that cannot change
    within it the point has those of x.
    """
    d, free = x.shape[1], task.movable(norm, eps)
    if norm == "linf":
        change = stream.uniform(2 * draw, d, -eps, eps)
        x_adv = x + (change if free is None else change * free)
    else:
        direction = stream.normal(2 * draw, d)
        if free is not None:
            direction, d = direction * free, max(int(free.sum()), 1)
        length = np.linalg.norm(direction, axis=1, keepdims=True)
        radius = eps * stream.uniform(2 * draw + 1, 1) ** (1.0 / d)
        x_adv = x + (radius / np.maximum(length, 1e-12) * direction).astype(np.float32)
    project_onto(norm, x, eps, task, x_adv)
    return x_adv
