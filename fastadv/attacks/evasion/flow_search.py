"""The flow of least loss that changes a label: primal-dual steps, each image its own problem.

The paper minimises max(margin, -kappa) + tau L_flow for one tau. What an attacker wants is the
least flow that does it: minimise L_flow subject to margin <= -kappa, of which 1/tau is the
multiplier, a different one for each image. Primal-dual steps find both at once, and take the flow
loss, whose gradient jumps wherever the flow is constant, by its proximal map.

There are many local minima: which class is chased, and which way the parts of an image go. So a few
searches start side by side, and the one with the least flow loss is carried on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastadv.arrays import Float32, Float64, Mask
from fastadv.attacks.evasion.flow_problem import Approach, BestFlows, Cells, FlowProblem, Rows
from fastadv.kernels.images import flow as flow_kernels
from fastadv.kernels.images import flow_search as kernels


@dataclass(frozen=True)
class _Stage:
    """How a part of a search steps.

    Attributes
    ----------
    sizes : (float, float)
        The primal step, in pixels, at the first and the last step.
    span : float
        The pixels over which the first step's derivative is averaged; from half way on, none.
    inner : int
        Primal-dual steps for each evaluation of the model.
    """

    sizes: tuple[float, float]
    span: float
    inner: int

    def size_at(self, share: float) -> float:
        """Return the primal step once that share of the steps, 0 to 1, is behind."""
        first, last = self.sizes
        return first * math.pow(last / first, share)

    def span_at(self, share: float) -> float:
        """Return the span once that share of the steps is behind."""
        return self.span * max(1 - 2 * share, 0.0)


# Long steps along wide averages first, for the large features, then ever finer ones.
# The last of the starts chases the second most likely of the wrong classes, and no other.
_STARTS = tuple(_Stage((0.2, 0.03), span, 8) for span in (1.0, 2.0, 1.0))
_FINISH = _Stage((0.03, 0.0005), 0.0, 24)
_SHARE = 0.22  # of all steps, for each start
RACE = 56  # the steps that a race needs; of fewer, one search has all
_REACH = 1.0  # pixels that the slope may move a component by in a primal-dual step
_MEMORY = 0.3  # of the averaged gradient
_BEYOND = 0.002  # how far past the boundary to aim, as a share of the clean margin
_TRANSLATION = 1 / 8  # of the sum of all slopes: how much further a translation moves


def least_flow(
    problem: FlowProblem, flow: Float32, *, steps: int, tau: float | None, translation: bool
) -> tuple[Float32, BestFlows]:
    """Search from ``flow`` (n, 2, H, W) in ``steps`` steps; return the last flow and the best.

    Parameters
    ----------
    tau : float or None
        A fixed weight of the flow loss: the multiplier never goes beyond 1 / tau.
    translation : bool
        Whether the mean of a flow may move.

    Notes
    -----
    An image leaves the batch when it is changed by a flow without any differences (a translation,
    whose loss is 0 but for the constant under the root), or was wrong to begin with.
    """
    cells, rows = problem.cells(), np.arange(len(flow))
    free = _TRANSLATION if translation else -1.0
    ceiling = np.inf if tau is None else 1 / max(tau, 1e-30)
    starts, share = (_STARTS, int(_SHARE * steps)) if steps >= RACE else (_STARTS[:1], steps // 2)
    paths: list[_Path] = []
    for stage in starts:
        path = _Path(problem, cells, flow, rows, free, ceiling)
        if paths and stage is starts[-1]:
            path.chased = paths[0].second
        path.walk(stage, share)
        paths.append(path)
        rows = path.rows
    path = _best_of(paths)
    path.walk(_FINISH, steps - share * len(paths), to_the_end=True)
    return path.flow, path.best


class _Path:
    """The search from one start.

    Attributes
    ----------
    flow, dual, pull, force : ndarray of shape (n, ...)
        Its state; see `advance` of the kernels.
    rows : ndarray
        The images that it still moves.
    best : BestFlows
    margins : ndarray of shape (n,)
        Those seen last.
    chased, second : ndarray of shape (n,)
        The class that each image goes for, or -1: the most likely of the wrong ones at each step;
        and the second most likely one at the start, -1 where there are but two classes.
    """

    def __init__(
        self, problem: FlowProblem, cells: Cells, flow: Float32, rows: Rows, free: float,
        ceiling: float,
    ) -> None:  # fmt: skip
        n, _, height, width = flow.shape
        self._problem, self._cells, self._free, self._ceiling = problem, cells, free, ceiling
        self._nothing_left = 1.5 * height * width * math.sqrt(flow_kernels.ROOT_EPS)
        self._begun = False
        self.flow, self.pull = flow.copy(), np.zeros_like(problem.x)
        self.dual = np.zeros((n, 4, (height + 1) * width), dtype=np.float32)
        self.force = np.zeros((n, 3), dtype=np.float32)
        self.rows, self.best, self.margins = rows, BestFlows(problem), np.full(n, np.inf)
        self.chased, self.second = np.full(n, -1), np.full(n, -1)
        self.beyond = np.zeros(n)

    def walk(self, stage: _Stage, steps: int, *, to_the_end: bool = False) -> None:
        """Take steps; without ``to_the_end`` the last iterate is left to the next walk to judge."""
        problem, channels = self._problem, self._problem.task.image_shape[2]
        x_adv, losses = np.empty_like(problem.x[self.rows]), np.empty(len(self.rows))
        flow_kernels.warp(problem.x[self.rows], self.flow[self.rows], channels, x_adv)
        flow_kernels.flow_loss(self.flow[self.rows], losses)
        for step in range(steps + to_the_end):
            rows = self.rows
            seen = problem.approach(x_adv[: len(rows)], rows, self.chased)
            going = self._judge(seen, losses[: len(rows)])
            if step == steps or not going.any():
                break
            dout, rows = seen.gradient(going), rows[going]
            excess = (seen.lead[going] + self.beyond[rows]).astype(np.float32)
            share = step / max(steps - 1, 1)
            kernels.advance(
                problem.x, self._cells, channels, rows, dout, excess,
                np.float32(stage.size_at(share)), np.float32(stage.span_at(share)),
                np.float32(self._free), np.float32(self._ceiling), np.float32(_REACH),
                np.float32(_MEMORY if self._begun else 0.0), stage.inner,
                self.flow, self.dual, self.pull, self.force, x_adv, losses,
            )  # fmt: skip
            self._begun = True

    def _judge(self, seen: Approach, losses: Float64) -> Mask:
        """Take note of the iterates of ``rows``, and leave in ``rows`` what is not done."""
        rows, kappa = self.rows, self._problem.kappa
        self.best.keep(rows, self.flow, seen.margins, losses)
        self.margins[rows] = seen.margins
        if self._begun:
            going: Mask = self.best.loss[rows] > self._nothing_left
        else:
            self.beyond[rows] = kappa + _BEYOND * np.abs(seen.margins)
            self.second[rows] = seen.second
            going = seen.margins >= -kappa
        self.rows = rows[going]
        return going

    def take(self, other: _Path, rows: Mask) -> None:
        """Go on from where the other search is, for the images of the mask."""
        for name in ("flow", "dual", "pull", "force", "beyond", "chased"):
            getattr(self, name)[rows] = getattr(other, name)[rows]


def _best_of(paths: Sequence[_Path]) -> _Path:
    """Return for each image the search of least loss, or of least margin where none succeeds."""
    losses = np.stack([path.best.loss for path in paths])
    margins = np.stack([path.margins for path in paths])
    chosen = np.where(
        np.isfinite(losses).any(axis=0), losses.argmin(axis=0), margins.argmin(axis=0)
    )
    path = paths[0]
    for number, other in enumerate(paths[1:], start=1):
        path.take(other, chosen == number)
        path.best.merge(other.best)
    path.rows = paths[-1].rows
    return path
