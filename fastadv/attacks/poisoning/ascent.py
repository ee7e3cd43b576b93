"""Projected gradient ascent of poison points on the validation loss after training.

    x  <-  P( x + t h ),    h  <-  0.7 h + u,    u the unit gradient of each point

The steps t fall linearly to zero and the best points on the way are kept: the loss of an SVM is
smooth only in pieces, and at an edge between two of them no step along the gradient gains. Where
columns are not free to change, the steps start from the point before it was brought to the nearest
row that can exist, by the gradient there: rounding would take small steps back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastadv.arrays import Float64
from fastadv.attacks.poisoning.feasible import Feasible
from fastadv.attacks.poisoning.problem import Problem
from fastadv.protocols import PoisonObjective
from fastadv.threads import go_on

MOMENTUM = 0.7  # the weight of the earlier directions


@dataclass(frozen=True)
class Ascent:
    """How points are moved.

    Attributes
    ----------
    steps : int
        Gradients.
    step_size : float
        Length of the first step of each point, in pixel values (Euclidean).
    passes : int
        0: all points move together. Otherwise they move in turn, ``steps`` gradients each, so many
        times over.
    """

    steps: int
    step_size: float
    passes: int = 0

    def move(self, problem: Problem, start: Float64, feasible: Feasible) -> tuple[Float64, Float64]:
        """Move points from ``start`` (p, d) on; return them and the loss along the way.

        The history has ``steps`` + 1 entries, or p ``passes`` ``steps`` + 1.
        """
        points, labels, everyone = feasible(start), feasible.labels, np.arange(len(start))
        sign, length = problem.goal.sign, self.step_size
        if self.passes == 0:
            objective = problem.objective(points, labels)
            return ascend(objective, points, feasible, sign, self.steps, length)
        history: list[Float64] = []
        for k in np.tile(everyone, self.passes):
            moving = everyone[k : k + 1]
            objective = problem.objective(points, labels, moving)
            points[moving], losses = ascend(
                objective, points[moving], feasible.part(moving), sign, self.steps, length
            )
            history.append(losses[1:] if history else losses)
        return points, np.concatenate(history)


def ascend(
    objective: PoisonObjective,
    start: Float64,
    feasible: Feasible,
    sign: float,
    steps: int,
    step_size: float,
) -> tuple[Float64, Float64]:
    """Climb from ``start`` (p, d) and return the best points on the way, and the history.

    ``sign`` is 1 to raise the loss, -1 to lower it; the first step has length ``step_size``. The
    history, (steps + 1,), is the loss at the best points so far, the start's first.
    """
    points = best = reached = start
    best_loss, gradient = objective(start)
    history = np.full(steps + 1, best_loss)
    heading = np.zeros_like(start)
    lengths = np.outer(step_size * (1.0 - np.arange(steps) / steps), np.ones(len(start)))
    for step in range(steps):
        go_on()
        reached = feasible.step(reached, sign * gradient, MOMENTUM, lengths[step], heading)
        points = feasible.existing(reached)
        if step < steps - 1:
            loss, gradient = objective(points)
        else:
            loss = objective.loss(points)
        if sign * (loss - best_loss) > 0:
            best, best_loss = points, loss
        history[step + 1] = best_loss
    return best, history
