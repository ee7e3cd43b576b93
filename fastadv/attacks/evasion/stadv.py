"""stAdv: a flow field that bends the image until the label changes (Xiao et al., ICLR 2018).

For each image the attack minimises, over a flow f,

    max(margin(f), -kappa) + tau * L_flow(f)

where the margin is Z_y - max of the other logits (with a target: max of the others - Z_t), and of
all iterates that succeed the one of smallest flow loss is kept. No clipping: the warp takes convex
combinations of pixels, so that the image never leaves its range.

The paper fixes tau = 0.05 and kappa = 0. At that tau "do nothing" is the minimiser for many
images, and kappa = 0 puts the minimiser on the decision boundary, where the last iterate is a coin
flip. So by default tau is searched for each image while it descends: it rises as long as the image
is adversarial and falls as long as it is not, and the path closes in on the boundary where it can
be had for the least flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from fastadv import threat
from fastadv.attacks.checks import require
from fastadv.attacks.evasion.base import Details, Evasion
from fastadv.errors import InputError
from fastadv.kernels import flow as kernels
from fastadv.kernels import loss
from fastadv.protocols import Float32, Float64, Floats, Labels, Model, Task
from fastadv.seeds import Stream
from fastadv.threat import Threat

_SEARCH_FROM = 0.1  # the tau that a search starts from
_RAISE, _LOWER = 1.05, 0.9  # of tau, after an iterate that succeeds or fails
_TAU_BOUNDS = (1e-4, 1e3)
_RATE, _FIXED_RATE = 0.2, 0.05  # pixels a step: at the start of a search, and without one


@dataclass(frozen=True)
class StAdv(Evasion):
    """Spatially transformed adversarial examples, each image its own problem.

    Parameters
    ----------
    tau : float or None
        Weight of the flow loss, in logits per pixel of flow. None searches it for each image; the
        paper's is 0.05.
    kappa : float
        Confidence: the margin, in logits, beyond which only the flow loss counts. The paper's is 0.
    steps : int
        Adam steps an image. (The paper uses L-BFGS, without saying how many.)
    search : bool or None
        Search tau, from ``tau`` if that is given. None: search if ``tau`` is None.
    keep : {"best", "last"}
        Which iterate to return; ``last`` is the paper's.
    target : {"none", "random", "runner_up"} or int
        What to change the label into; the paper draws targets without saying how.
    budget : float
        The flow loss up to which a change counts in a grid's accuracy; it does not change what is
        searched for, since the attack minimises the flow anyway.
    init : float
        The initial flow is drawn uniformly from [-init, init] pixels: at exactly 0 every pixel
        sits on a kink of the warp.

    Notes
    -----
    The paper's literal mode is ``stadv[tau=0.05,kappa=0,search=false,keep=last]``, with Adam in
    place of L-BFGS.
    """

    tau: float | None = None
    kappa: float = 0.0
    steps: int = 150
    search: bool | None = None
    keep: Literal["best", "last"] = "best"
    target: int | Literal["none", "random", "runner_up"] = "none"
    budget: float = 30.0
    init: float = 0.01

    name: ClassVar[str] = "stadv"
    reference: ClassVar[str] = "Xiao et al., ICLR 2018, arXiv 1801.02612, section 3"
    minimum_norm: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.tau is None or self.tau >= 0, "tau has to be at least 0", self.tau)
        require(self.kappa >= 0, "kappa has to be at least 0", self.kappa)
        require(self.steps >= 1, "steps has to be at least 1", self.steps)
        require(self.budget >= 0, "budget has to be at least 0", self.budget)
        require(self.init >= 0, "init has to be at least 0", self.init)
        if self.tau is None and self.search is False:
            raise InputError("search=false needs a tau; the paper's is 0.05")

    def threat(self) -> Threat:
        """Return the flow loss up to ``budget``."""
        return threat.flow(self.budget)

    def choose_targets(
        self, model: Model, x: Floats, y: Labels, task: Task, stream: Stream
    ) -> Labels | None:
        """Return the target columns by the attack's rule, never the true class."""
        if self.target == "none":
            return None
        if self.target == "random":
            shift = stream.uniform(1, 1, 1.0, float(task.n_classes))[:, 0].astype(np.int64)
            drawn: Labels = (y + np.minimum(shift, task.n_classes - 1)) % task.n_classes
            return drawn
        logits = model.vjp(x)[0].astype(np.float64)
        logits[np.arange(len(y)), y] = -np.inf
        runner_up: Labels = logits.argmax(axis=1).astype(np.int64)
        if self.target == "runner_up":
            return runner_up
        if not 0 <= int(self.target) < task.n_classes:
            raise InputError(f"stadv: target has to be below {task.n_classes}, got {self.target}")
        # An image of the target class itself goes to its runner-up.
        return np.where(y == self.target, runner_up, int(self.target)).astype(np.int64)

    def craft(
        self,
        model: Model,
        x: Floats,
        y: Labels,
        target: Labels | None,
        *,
        task: Task,
        stream: Stream,
    ) -> tuple[Floats, Details]:
        """Descend from a tiny random flow; details: ``flow`` (n, 2, H, W), (du, dv) in pixels."""
        x = np.ascontiguousarray(x, dtype=np.float32)
        n, (height, width, channels) = len(x), task.image_shape
        searching = self.tau is None if self.search is None else self.search
        tau = np.full(n, _SEARCH_FROM if self.tau is None else self.tau, dtype=np.float32)
        flow = stream.uniform(0, 2 * height * width, -self.init, self.init)
        flow = flow.reshape(n, 2, height, width)
        mean, square, dflow = np.zeros_like(flow), np.zeros_like(flow), np.empty_like(flow)
        x_adv = np.empty_like(x)
        best, best_loss = np.zeros_like(flow), np.full(n, np.inf)

        for step in range(1, self.steps + 2):
            kernels.warp(x, flow, channels, x_adv)
            logits, pullback = model.vjp(x_adv)
            margins, dlogits = self._margins(logits, y, target)
            success = margins < 0
            _keep_smallest(flow, success, best, best_loss)
            if step > self.steps:
                break
            if searching:
                tau = np.clip(tau * np.where(success, _RAISE, _LOWER), *_TAU_BOUNDS).astype(
                    np.float32
                )
            kernels.warp_gradient(x, flow, channels, pullback(dlogits), dflow)
            kernels.add_flow_loss_gradient(flow, tau, dflow)
            kernels.adam_step(flow, dflow, mean, square, step, self._rate(step, searching))

        flow = (
            np.where(np.isfinite(best_loss)[:, None, None, None], best, flow)
            if self.keep == "best"
            else flow
        )
        kernels.warp(x, flow, channels, x_adv)
        return x_adv, {"flow": flow}

    def _margins(self, logits: Floats, y: Labels, target: Labels | None) -> tuple[Float64, Floats]:
        """Return the margins (n,) and the gradient of max(margin, -kappa) at the logits (n, k)."""
        n = len(logits)
        margins, rivals = np.empty(n), np.empty(n, dtype=np.int64)
        targets = np.full(n, -1) if target is None else target
        loss.margin(logits, y, targets, margins, rivals)
        dlogits = np.zeros_like(logits)
        rows = np.flatnonzero(margins > -self.kappa if self.kappa else margins >= 0)
        raised, lowered = (y, rivals) if target is None else (rivals, target)
        dlogits[rows, raised[rows]] = 1.0
        dlogits[rows, lowered[rows]] = -1.0
        return margins, dlogits

    def _rate(self, step: int, searching: bool) -> float:
        """Return the step size: along a cosine in a search, so that the path can settle."""
        if not searching:
            return _FIXED_RATE
        return _RATE * (0.02 + 0.49 * (1.0 + math.cos(math.pi * step / self.steps)))

    def measure(self, x: Floats, x_adv: Floats, details: Details, task: Task) -> dict[str, Float64]:
        """Return pixel distances, the flow loss, and the largest and mean shift in pixels."""
        out = super().measure(x, x_adv, details, task)
        flow: Float32 = details.get("flow", np.zeros((0, 2, *task.image_shape[:2]), np.float32))
        losses = np.empty(len(flow))
        kernels.flow_loss(flow, losses)
        shift = np.hypot(flow[:, 0], flow[:, 1]).astype(np.float64)
        out["flow_loss"] = losses
        out["flow_max"] = shift.max(axis=(1, 2), initial=0.0)
        out["flow_mean"] = shift.mean(axis=(1, 2))
        return out


def _keep_smallest(flow: Float32, success: Floats, best: Float32, best_loss: Float64) -> None:
    """Where an iterate succeeds with less flow than any before, keep it. Modified in place."""
    losses = np.empty(len(flow))
    kernels.flow_loss(flow, losses)
    better = success & (losses < best_loss)
    best[better], best_loss[better] = flow[better], losses[better]
