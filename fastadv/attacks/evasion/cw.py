"""C&W: the least L2 change that reaches a confidence (Carlini and Wagner, S&P 2017).

For each image the attack minimises, over w with x' = middle + half tanh(w),

    |x' - x|^2 + c * max(margin(x'), -kappa)

where the margin is Z_y - max of the other logits (with a target: max of the others - Z_t), and
searches the least c for which that succeeds. Of all iterates that reach the confidence the nearest
is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import threat
from fastadv.arrays import Float32, Float64, Floats, Labels, Mask
from fastadv.attacks.evasion.base import Details, Evasion
from fastadv.attacks.evasion.loss import hinge
from fastadv.errors import at_least, require
from fastadv.kernels.images import project, tanh_space
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat

_USUAL_SPREAD = 20.0  # of an image's logits
_INSIDE = np.float32(1.0 - 1e-6)  # of the range: w is infinite at its ends


@dataclass(frozen=True)
class CW(Evasion):
    """The L2 attack, each image its own problem with its own search over c.

    Parameters
    ----------
    kappa : float
        Confidence: by how many logits the image has to be over the boundary. The paper's is 0.
    steps : int
        Adam steps for each c. The paper's code allows 10,000.
    search_steps : int
        How many values of c are tried: ten times the last until one succeeds, then the middle of
        the bracket. The paper's code tries 9, from 0.001.
    initial_c : float
        The first c, in 1 / logits. Of an image whose logits spread over more than some 60 it is
        divided by 10 for each power of ten that they spread wider.
    rate : float
        Adam's, in the space of w, for the first half of the steps; then it falls along a cosine,
        so that the path settles on the boundary. The paper's code keeps 0.01, for its many steps.
    budget : float
        The distance up to which a change counts in a grid's accuracy; it does not change what is
        searched for.
    """

    kappa: float = 0.0
    steps: int = 150
    search_steps: int = 6
    initial_c: float = 1.0
    rate: float = 0.15
    budget: float = 1.0

    name: ClassVar[str] = "cw"
    reference: ClassVar[str] = "Carlini and Wagner, S&P 2017, arXiv 1608.04644, section VI.A"
    minimum_norm: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, kappa=self.kappa, budget=self.budget)
        at_least(1, steps=self.steps, search_steps=self.search_steps)
        require(self.initial_c > 0, "initial_c has to be above 0", self.initial_c)
        require(self.rate > 0, "rate has to be above 0", self.rate)

    def threat(self) -> Threat:
        """Return the L2 distance up to ``budget``."""
        return threat.l2(self.budget)

    def craft(
        self,
        model: Model,
        x: Float32,
        y: Labels,
        target: Labels | None,
        *,
        task: Task,
        stream: Stream,
    ) -> tuple[Floats, Details]:
        """Search c; where no iterate reaches the confidence the image comes back as it is."""
        nearest, distance = x.copy(), np.full(len(x), np.inf)
        c = self.initial_c / _unit(model.vjp(x)[0])
        lower, upper = np.zeros(len(x)), np.full(len(x), np.inf)
        for _ in range(self.search_steps):
            success = self._descend(model, x, y, target, c, task, nearest, distance)
            upper[success] = np.minimum(upper, c)[success]
            lower[~success] = np.maximum(lower, c)[~success]
            c = np.where(np.isfinite(upper), (lower + upper) / 2, 10 * c)
        return np.clip(nearest, *task.bounds), {}  # against rounding in middle + half tanh

    def _descend(
        self,
        model: Model,
        x: Float32,
        y: Labels,
        target: Labels | None,
        c: Float64,
        task: Task,
        nearest: Float32,
        distance: Float64,
    ) -> Mask:
        """Descend for one c an image; return where some iterate succeeds.

        ``nearest`` and ``distance`` get the iterates that succeed with less change than before.
        """
        low, high = task.bounds
        middle, half = np.float32((low + high) / 2), np.float32((high - low) / 2)
        w = np.arctanh((x - middle) / half * _INSIDE)
        mean, square = np.zeros_like(w), np.zeros_like(w)
        weight = c.astype(np.float32)[:, None]
        linf, l2 = np.empty(len(x)), np.empty(len(x))
        any_success = np.zeros(len(x), dtype=bool)
        for step in range(1, self.steps + 2):
            tanh = np.tanh(w)
            x_adv = middle + half * tanh
            shown = task.brought_back(x, x_adv)
            logits, pullback = model.vjp(shown)
            success, dlogits = hinge(logits, y, target, self.kappa)
            project.distances(x, shown, linf, l2)
            nearer = success & (l2 < distance)
            nearest[nearer], distance[nearer] = shown[nearer], l2[nearer]
            any_success |= success
            if step > self.steps:
                break
            dw = pullback(weight * dlogits)
            tanh_space.pull_to_weights(x, x_adv, tanh, half, dw)
            tanh_space.adam_step(w, dw, mean, square, step, self._rate(step))
        return any_success

    def _rate(self, step: int) -> float:
        """Return the step size of Adam."""
        late = max(2.0 * step / self.steps - 1.0, 0.0)
        return self.rate * (0.05 + 0.475 * (1.0 + math.cos(math.pi * late)))


def _unit(logits: Floats) -> Float64:
    """Return the power of ten, at least 1, that makes each row's logits usual ones, (n,)."""
    exact = logits.astype(np.float64)
    spread = exact.max(axis=1) - np.where(np.isinf(exact), np.inf, exact).min(axis=1)
    power: Float64 = 10.0 ** np.round(np.log10(np.maximum(spread / _USUAL_SPREAD, 1.0)))
    return power
