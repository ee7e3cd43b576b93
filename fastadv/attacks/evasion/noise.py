"""Random noise of a budget: the control that an attack has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv.arrays import Float32, Floats, Labels
from fastadv.attacks.evasion import ball
from fastadv.attacks.evasion.base import Details
from fastadv.attacks.evasion.best import succeeds
from fastadv.errors import at_least
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task


@dataclass(frozen=True)
class Noise(ball.InBall):
    """Points drawn uniformly from the ball; of several draws any that succeeds.

    Parameters
    ----------
    eps : float
        The budget, in pixel values; of columns as a share of their ranges.
    norm : {"linf", "l2"}
    draws : int
        How many points of the ball are tried.
    """

    eps: float = 0.1
    norm: ball.Norm = "linf"
    draws: int = 1

    name: ClassVar[str] = "noise"
    reference: ClassVar[str] = "a control, not an attack"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, draws=self.draws)

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
        """Draw, and keep the first draw that succeeds, else the last."""
        kept, open_ = x.copy(), np.ones(len(x), dtype=bool)
        for draw in range(self.draws):
            x_adv = ball.random_point(self.norm, x, self.eps, task, stream, draw)
            x_adv = task.brought_back(x, x_adv, self.norm, self.eps)
            kept[open_] = x_adv[open_]
            if draw + 1 < self.draws:
                open_ &= ~succeeds(model.logits(x_adv), y, target)
        return kept, {}
