"""PGD: projected gradient ascent from a random start (Madry et al., ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from fastadv.arrays import Float32, Floats, Labels
from fastadv.attacks.evasion import ball
from fastadv.attacks.evasion.base import CHUNK, Details
from fastadv.attacks.evasion.best import Best, succeeds
from fastadv.attacks.evasion.loss import cross_entropy_ascent
from fastadv.errors import at_least, require
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task


@dataclass(frozen=True)
class PGD(ball.InBall):
    """Projected gradient ascent on the cross-entropy.

    Where columns of a table are not free to change, the gradient is that at the nearest row which
    can exist, and the step starts from the point that was brought there (the straight-through
    estimator: Bengio et al. 2013, arXiv 1308.3432).

    Parameters
    ----------
    eps : float
        The budget, in pixel values; of columns as a share of their ranges. The paper's on MNIST is
        0.3, for convolutional networks that were trained for it; a perceptron is at chance long
        before.
    norm : {"linf", "l2"}
    steps : int
        The paper's is 40.
    step_size : float or None
        None: 2.5 eps / steps in Linf, so that a path can cross the ball. In L2 twice that: nearly
        all of a ball's volume is at its surface, where the start lies and the path has to go
        around. The paper's is 0.01.
    restarts : int
        Random starts; an image counts as attacked if one of them succeeds.
    keep : {"best", "first", "last"}
        The iterate of highest loss, a success before any other; or the first success, at which an
        image is left alone: the same accuracy under attack for less work the weaker the model is,
        but of images that just succeed and carry over less to another model; or the last iterate,
        which saves a pass and is what adversarial training takes.
    """

    eps: float = 0.1
    norm: ball.Norm = "linf"
    steps: int = 40
    step_size: float | None = None
    restarts: int = 1
    keep: Literal["best", "first", "last"] = "best"

    name: ClassVar[str] = "pgd"
    reference: ClassVar[str] = "Madry et al., ICLR 2018, arXiv 1706.06083, section 2.1"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps, restarts=self.restarts)
        size = self.step_size
        require(size is None or size > 0, "step_size has to be above 0", size)

    @property
    def chunk(self) -> int:
        """More where images leave, as most of a chunk soon has."""
        return 4 * CHUNK if self.keep == "first" else CHUNK

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
        """Climb from each start."""
        start = self.random_start(x, task=task, stream=stream)
        return self.craft_from(start, model, x, y, target, task=task, stream=stream)

    def random_start(self, x: Float32, *, task: Task, stream: Stream) -> Float32:
        """Return a point of the ball around each row of x (n, d), where `craft` begins."""
        return ball.random_point(self.norm, x, self.eps, task, stream, 0)

    def craft_from(
        self,
        start: Float32,
        model: Model,
        x: Float32,
        y: Labels,
        target: Labels | None,
        *,
        task: Task,
        stream: Stream,
    ) -> tuple[Floats, Details]:
        """Climb as `craft` does, the first time from ``start`` (n, d). It is modified."""
        usual = (2.5 if self.norm == "linf" else 5.0) * self.eps / self.steps
        size = usual if self.step_size is None else self.step_size
        if self.keep == "first":
            return self._until_success(start, model, x, y, target, size, task, stream), {}
        best, x_adv = Best(x), start
        for restart in range(self.restarts):
            if restart > 0:
                x_adv = ball.random_point(self.norm, x, self.eps, task, stream, restart)
            for _ in range(self.steps):
                shown = task.brought_back(x, x_adv, self.norm, self.eps)
                logits, pullback = model.vjp(shown)
                losses, dlogits = cross_entropy_ascent(logits, y, target)
                if self.keep == "best":
                    best.offer(shown, losses, succeeds(logits, y, target))
                gradient = ball.along(self.norm, self.eps, task, pullback(dlogits))
                ball.step(self.norm, gradient, size, x_adv)
                ball.project_onto(self.norm, x, self.eps, task, x_adv)
            shown = task.brought_back(x, x_adv, self.norm, self.eps)
            if self.keep == "last" and self.restarts == 1:
                return shown, {}
            logits = model.vjp(shown)[0]
            losses = cross_entropy_ascent(logits, y, target)[0]
            best.offer(shown, losses, succeeds(logits, y, target))
        return best.points, {}

    def _until_success(
        self,
        start: Float32,
        model: Model,
        x: Float32,
        y: Labels,
        target: Labels | None,
        size: float,
        task: Task,
        stream: Stream,
    ) -> Float32:
        """Return the first success of each image, or the last iterate of the last start."""
        successes, left = x.copy(), np.arange(len(x))
        for restart in range(self.restarts):
            rows, centre, x_adv = left, x[left], start
            if restart > 0:
                x_adv = ball.random_point(
                    self.norm, centre, self.eps, task, stream.rows(rows), restart
                )
            for step in range(self.steps + 1):
                wanted = None if target is None else target[rows]
                shown = task.brought_back(centre, x_adv, self.norm, self.eps)
                logits, pullback = model.vjp(shown)
                done = succeeds(logits, y[rows], wanted)
                if step == self.steps or done.all():
                    break
                gradient = pullback(cross_entropy_ascent(logits, y[rows], wanted)[1])
                gradient = ball.along(self.norm, self.eps, task, gradient)
                if done.any():
                    successes[rows[done]] = shown[done]
                    rows, centre = rows[~done], centre[~done]
                    x_adv, gradient = x_adv[~done], gradient[~done]
                ball.step(self.norm, gradient, size, x_adv)
                ball.project_onto(self.norm, centre, self.eps, task, x_adv)
            successes[rows] = shown
            left = rows[~done]
            if not len(left):
                break
        return successes
