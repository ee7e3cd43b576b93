"""DeepFool: to the nearest linearised decision boundary (Moosavi-Dezfooli et al., CVPR 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.attacks.evasion import ball
from fastadv.attacks.evasion.base import Details, Evasion
from fastadv.attacks.evasion.best import succeeds
from fastadv.errors import at_least
from fastadv.kernels.images import boundary
from fastadv.protocols import Model, Pullback
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat

# How much further than the boundary each step goes, as in the paper's code: where half of a step is
# cut off at the box the steps shrink toward the boundary, and would not cross it in float32.
_NUDGE = 1e-4


@dataclass(frozen=True)
class DeepFool(Evasion):
    """Steps to the nearest boundary of the model's linearisation, until the label changes.

    The paper has no pixel range; here each point is cut to it, and the next step makes up for what
    was cut off. Where columns are not free to change, so it makes up for what rounding took.

    Parameters
    ----------
    norm : {"l2", "linf"}
        What is kept small.
    steps : int
        Linearisations at most, as in the paper's code.
    overshoot : float
        How much further than the boundary the change goes, as a share of its length. The paper's
        is 0.02, and so much longer than the least are the changes on a linear model.
    budget : float or None
        The distance up to which a change counts in a grid's accuracy; it does not change what is
        searched for. None: 1 in L2, 0.1 in Linf.
    """

    norm: ball.Norm = "l2"
    steps: int = 50
    overshoot: float = 0.02
    budget: float | None = None

    name: ClassVar[str] = "deepfool"
    reference: ClassVar[str] = "Moosavi-Dezfooli et al., CVPR 2016, arXiv 1511.04599, section 3"
    minimum_norm: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps)
        at_least(0, overshoot=self.overshoot, budget=self.budget)

    def threat(self) -> Threat:
        """Return the norm up to ``budget``."""
        usual = 1.0 if self.norm == "l2" else 0.1
        return ball.threat_of(self.norm, usual if self.budget is None else self.budget)

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
        """Step until the label has changed; images that are done leave the batch."""
        x_adv, rows, change = x.copy(), np.arange(len(x)), np.zeros_like(x)
        for step in range(self.steps + 1):
            logits, pullback = model.vjp(x_adv[rows])
            todo = ~succeeds(logits, y[rows], None if target is None else target[rows])
            if step == self.steps or not todo.any():
                break
            goals = None if target is None else target[rows]
            part = change[rows]
            self._add_step(logits, pullback, y[rows], goals, task, part)
            rows, part = rows[todo], part[todo]
            change[rows] = part
            grown = x[rows] + np.float32(1.0 + self.overshoot) * part
            x_adv[rows] = task.brought_back(x[rows], np.clip(grown, *task.bounds))
        return x_adv, {}

    def _add_step(
        self,
        logits: Floats,
        pullback: Pullback,
        y: Labels,
        target: Labels | None,
        task: Task,
        change: Float32,
    ) -> None:
        """Add to ``change`` (n, d) the step to the nearest boundary (algorithm 2).

        Untargeted: over the classes k the nearest hyperplane Z_k = Z_y. With a target: the
        hyperplane to it from the class of the largest logit. In columns that are free to change.
        """
        norm = boundary.LINF if self.norm == "linf" else boundary.L2
        n, rows = len(logits), np.arange(len(logits))
        nearest, length, dual = np.zeros_like(change), np.full(n, np.inf), np.zeros(n)
        from_ = y if target is None else logits.argmax(axis=1)
        goals = [np.full(n, k) for k in range(logits.shape[1])] if target is None else [target]
        for to in goals:
            dlogits = np.zeros_like(logits)
            dlogits[rows, to] += 1.0
            dlogits[rows, from_] -= 1.0  # where the two are one class: no boundary, w = 0
            w, norms = ball.along(self.norm, None, task, pullback(dlogits)), np.empty(n)
            boundary.dual_norms(w, norm, norms)
            gap: Float64 = logits[rows, from_].astype(np.float64) - logits[rows, to]
            distance = np.divide(gap, norms, out=np.full(n, np.inf), where=norms > 0)
            nearer = distance < length
            nearest[nearer], length[nearer] = w[nearer], distance[nearer]
            dual[nearer] = norms[nearer]
        boundary.add_step(nearest, length + _NUDGE, dual, norm, change)
