"""FGSM: one step of the size of the budget (Goodfellow, Shlens and Szegedy, ICLR 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastadv.arrays import Float32, Floats, Labels
from fastadv.attacks.evasion import ball
from fastadv.attacks.evasion.base import Details
from fastadv.attacks.evasion.loss import cross_entropy_ascent
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task


@dataclass(frozen=True)
class FGSM(ball.InBall):
    """The fast gradient sign method: exact for a linear model, weak for any other.

    Parameters
    ----------
    eps : float
        The budget, in pixel values; of columns as a share of their ranges. The paper's 0.25 on
        MNIST is for a network that is not robust at all; 0.1 tells models apart.
    norm : {"linf", "l2"}
    """

    eps: float = 0.1
    norm: ball.Norm = "linf"

    name: ClassVar[str] = "fgsm"
    reference: ClassVar[str] = "Goodfellow et al., ICLR 2015, arXiv 1412.6572, section 4"

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
        """Take the one step."""
        logits, pullback = model.vjp(x)
        _, dlogits = cross_entropy_ascent(logits, y, target)
        x_adv = x.copy()
        gradient = ball.along(self.norm, self.eps, task, pullback(dlogits))
        ball.step(self.norm, gradient, self.eps, x_adv)
        ball.project_onto(self.norm, x, self.eps, task, x_adv)
        return x_adv, {}
