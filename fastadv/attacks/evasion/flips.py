"""In an L2 ball, the pixels that are worth it, each just over the next step of a preprocessor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import capabilities, threat
from fastadv.arrays import Float32, Floats, Labels
from fastadv.attacks.evasion.base import Details, Evasion
from fastadv.attacks.evasion.best import Best, succeeds
from fastadv.attacks.evasion.loss import margin_slope, margins
from fastadv.errors import at_least
from fastadv.models.adapters.counting import Counted
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat

_MEMORY = 0.8  # of the sum of slopes: single ones change with every pixel that is moved


@dataclass(frozen=True)
class Flips(Evasion):
    """What a preprocessor rounds away costs distance and changes nothing; moves between steps do.

    Pixels are taken in the order of slope over squared distance to their next step until the
    budget is spent (the greedy rule for a knapsack), again at each image that this makes.

    Parameters
    ----------
    eps : float
        The budget in L2.
    steps : int
    """

    eps: float = 1.0
    steps: int = 40

    name: ClassVar[str] = "flips"
    reference: ClassVar[str] = "Dantzig, Operations Research 1957, the greedy rule"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, eps=self.eps)
        at_least(1, steps=self.steps)

    def threat(self) -> Threat:
        """Return the ball."""
        return threat.l2(self.eps)

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
        """Spend the budget anew at each step; keep the image of the least margin."""
        inner = model.model if isinstance(model, Counted) else model
        below, above = capabilities.next_steps(inner, x)
        best, x_adv, slope = Best(x), x.copy(), np.zeros_like(x)
        for step in range(self.steps + 1):
            logits, pullback = model.vjp(x_adv)
            margin, rivals = margins(logits, y, target)
            best.offer(x_adv, -margin, succeeds(logits, y, target))
            if step == self.steps:
                break
            slope *= np.float32(_MEMORY)
            slope -= pullback(margin_slope(logits, y, target, rivals))
            moved = self._moved(x, np.where(slope > 0, above, below), np.abs(slope))
            x_adv = task.brought_back(x, moved, "l2", self.eps)
        return best.points, {}

    def _moved(self, x: Float32, to: Float32, worth: Float32) -> Float32:
        """Return x with those pixels at ``to`` that are worth most for their cost, (n, d)."""
        cost = np.where(np.isnan(to), np.inf, np.square(to.astype(np.float64) - x))
        order = np.argsort(-worth / np.maximum(cost, 1e-12), axis=1, kind="stable")
        spent = np.cumsum(np.take_along_axis(cost, order, axis=1), axis=1)
        take = np.zeros(x.shape, dtype=bool)
        np.put_along_axis(take, order, spent <= self.eps**2, axis=1)
        moved: Float32 = np.where(take, to, x).astype(np.float32)
        return moved
