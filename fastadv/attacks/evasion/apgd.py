"""APGD: projected ascent with momentum that halves its own steps (Croce and Hein, ICML 2020)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv.arrays import Float32, Floats, Labels
from fastadv.attacks.evasion import ball
from fastadv.attacks.evasion.base import Details
from fastadv.attacks.evasion.best import Best, succeeds
from fastadv.attacks.evasion.loss import Loss, ascent, dlr_least_classes
from fastadv.errors import at_least
from fastadv.kernels.images import project
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task

_MOMENTUM = 0.75  # the paper's alpha: the share of the new step
_RISING = 0.75  # the paper's rho: the share of steps that have to raise the loss


@dataclass(frozen=True)
class APGD(ball.InBall):
    """Auto-PGD: each image's step starts at 2 eps and is halved when its loss stops rising.

    At a halving the image goes back to its best point. There is no step size to choose, which is
    what PGD is most often weakened by. Columns that are not free to change are as in PGD.

    Parameters
    ----------
    eps : float
        The budget, in pixel values; of columns as a share of their ranges.
    norm : {"linf", "l2"}
    steps : int
        The paper's is 100.
    restarts : int
        Random starts; images that are done take no further one. The paper's is 5.
    loss : {"ce", "dlr"}
        Cross-entropy, or the difference of logits ratio, which no scaling of the logits can flatten
        (three classes at least; with targets its targeted form, four at least).
    targets : int
        0: up the loss of the true class. Otherwise toward each of so many other classes in turn,
        those of the largest logits first; any change of label counts. 9 with ``loss=dlr`` is the
        targeted APGD of AutoAttack, which finds what a single loss overlooks.
    """

    eps: float = 0.1
    norm: ball.Norm = "linf"
    steps: int = 100
    restarts: int = 1
    loss: Loss = "ce"
    targets: int = 0

    name: ClassVar[str] = "apgd"
    reference: ClassVar[str] = "Croce and Hein, ICML 2020, arXiv 2003.01690, sections 3 and 4"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, targets=self.targets)
        at_least(1, steps=self.steps, restarts=self.restarts)

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or the reason why the attack cannot run on ``model``."""
        least = dlr_least_classes(targeted=self.targets > 0)
        if self.loss == "dlr" and task.n_classes < least:
            return f"loss=dlr needs {least} classes; use loss=ce"
        return super().supports(model, task)

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
        """Climb from each start; keep the point of highest loss, a success before any other."""
        goals = [target] if target is not None or not self.targets else self._goals(model, x, y)
        best, rows = Best(x), np.arange(len(x))
        for attempt, (goal, _) in enumerate(itertools.product(goals, range(self.restarts))):
            start = ball.random_point(
                self.norm, x[rows], self.eps, task, stream.rows(rows), attempt
            )
            toward = None if goal is None else goal[rows]
            wanted = None if target is None else target[rows]
            climbed = self._climb(model, x[rows], y[rows], toward, wanted, start, task)
            better = climbed.score > best.score[rows]
            best.points[rows[better]] = climbed.points[better]
            best.score[rows[better]] = climbed.score[better]
            rows = np.flatnonzero(~best.success)
            if not len(rows):
                break
        return best.points, {}

    def _goals(self, model: Model, x: Float32, y: Labels) -> list[Labels]:
        """Return the classes to go to in turn, each (n,): without y, the largest logits first."""
        logits = model.vjp(x)[0].astype(np.float64)
        logits[np.arange(len(y)), y] = -np.inf
        order = np.argsort(-logits, axis=1, kind="stable").astype(np.int64)
        return [order[:, k].copy() for k in range(min(self.targets, logits.shape[1] - 1))]

    def _climb(
        self,
        model: Model,
        x: Float32,
        y: Labels,
        toward: Labels | None,
        wanted: Labels | None,
        x_adv: Float32,
        task: Task,
    ) -> Best:
        """Climb from ``x_adv``, which is modified, and return the best points (algorithm 1).

        The loss leads ``toward`` a class; ``wanted`` is what counts as a success.
        """
        best, n = Best(x), len(x)
        size = np.full(n, 2.0 * self.eps)
        top, top_loss, top_gradient = x_adv.copy(), np.full(n, -np.inf), np.zeros_like(x)
        # since the last checkpoint:
        rises, had_halved, had_loss = np.zeros(n), np.zeros(n, dtype=bool), np.full(n, -np.inf)
        losses = np.full(n, np.inf)
        previous, before = x_adv.copy(), 0
        checkpoints = _checkpoints(self.steps)

        for step in range(self.steps + 1):
            shown = task.brought_back(x, x_adv, self.norm, self.eps)
            logits, pullback = model.vjp(shown)
            earlier = losses
            losses, dlogits = ascent(self.loss, logits, y, toward)
            best.offer(shown, losses, succeeds(logits, y, wanted))
            if step == self.steps:
                break
            gradient = ball.along(self.norm, self.eps, task, pullback(dlogits))
            rises += losses > earlier
            higher = losses > top_loss
            top[higher], top_loss[higher] = x_adv[higher], losses[higher]
            top_gradient[higher] = gradient[higher]
            if step in checkpoints:
                stuck = rises < _RISING * (step - before)
                halve = stuck | (~had_halved & (had_loss == top_loss))
                size[halve] /= 2
                x_adv[halve], losses[halve] = top[halve], top_loss[halve]
                gradient[halve] = top_gradient[halve]
                rises[:], had_halved, had_loss, before = 0, halve, top_loss.copy(), step
            moved = x_adv.copy()
            ball.step(self.norm, gradient, size, moved)
            ball.project_onto(self.norm, x, self.eps, task, moved)
            weight = _MOMENTUM if step > 0 else 1.0
            project.momentum_step(moved, weight, x_adv, previous)
            ball.project_onto(self.norm, x, self.eps, task, x_adv)
        return best


def _checkpoints(steps: int) -> set[int]:
    """Return the steps at which to consider halving: w_j = ceil(p_j steps), section 3.2."""
    checkpoints, percent, period = set(), 22, 22
    while percent <= 100:
        checkpoints.add(-(-percent * steps // 100))
        period = max(period - 3, 6)
        percent += period
    return checkpoints
