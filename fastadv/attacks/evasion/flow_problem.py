"""What the searches for a flow share: the margin of a batch, and the best flow seen so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32, Float64, Floats, Labels, Mask
from fastadv.attacks.evasion.loss import margin_slope, margins
from fastadv.kernels.images import flow as flow_kernels
from fastadv.protocols import Model
from fastadv.task import Task

Rows = npt.NDArray[np.intp]
Cells = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FlowProblem:
    """Images (n, d) whose labels y are to change, into ``target`` if there is one.

    ``kappa`` is the margin, in logits, that the wrong label has to lead by.
    """

    model: Model
    x: Float32
    y: Labels
    target: Labels | None
    task: Task
    kappa: float

    @property
    def flow_shape(self) -> tuple[int, int, int, int]:
        """(n, 2, H, W)."""
        return (len(self.x), 2, *self.task.image_shape[:2])

    def cells(self) -> Cells:
        """Return the marks of each image's cells, (n, H W); see `mark_cells` of the kernels."""
        height, width, channels = self.task.image_shape
        cells = np.empty((len(self.x), height * width), dtype=np.uint8)
        flow_kernels.mark_cells(self.x, height, width, channels, cells)
        return cells

    def evaluate(self, x_adv: Float32, rows: Rows) -> tuple[Float64, Callable[[Mask], Float32]]:
        """Return the margins of the images ``rows`` (see `margins`), and their slopes.

        The second value is a function of the rows that are wanted, a mask over ``rows``: it
        returns d(margin)/d(image) of those.
        """
        seen = self.approach(x_adv, rows, np.full(len(self.x), -1))
        return seen.margins, seen.gradient

    def approach(self, x_adv: Float32, rows: Rows, chased: Labels) -> Approach:
        """Look at the images ``rows``.

        ``chased`` (n,) says for each image which wrong class it goes for, or -1: the most likely
        one. With a target that is the target.
        """
        logits, pullback = self.model.vjp(x_adv)
        y, each = self.y[rows], np.arange(len(rows))
        target = None if self.target is None else self.target[rows]
        margin, rivals = margins(logits, y, target)
        lead = margin
        if target is None and np.any(chased[rows] >= 0):
            rivals = np.where(chased[rows] < 0, rivals, chased[rows])
            lead = logits[each, y].astype(np.float64) - logits[each, rivals]

        def gradient(wanted: Mask) -> Float32:
            dx = pullback(margin_slope(logits, y, target, rivals))
            return np.ascontiguousarray(dx if wanted.all() else dx[wanted], dtype=np.float32)

        return Approach(margin, lead, _second(logits, y), gradient)


class Approach(NamedTuple):
    """How near some images are to success.

    Attributes
    ----------
    margins : ndarray of shape (m,)
        See `fastadv.attacks.evasion.loss.margins`.
    lead : ndarray of shape (m,)
        What the true class leads the chased one by.
    second : ndarray of shape (m,)
        The second most likely of the wrong classes; -1 of two classes.
    gradient : callable
        Of the rows that are wanted, a mask (m,), it returns d(lead)/d(image).
    """

    margins: Float64
    lead: Float64
    second: Labels
    gradient: Callable[[Mask], Float32]


def _second(logits: Floats, y: Labels) -> Labels:
    if logits.shape[1] < 3:
        return np.full(len(logits), -1)
    wrong = logits.copy()
    wrong[np.arange(len(logits)), y] = -np.inf
    second: Labels = np.argsort(-wrong, axis=1, kind="stable")[:, 1]
    return second


class BestFlows:
    """For each image the flow of least loss that succeeds, by ``kappa`` if one ever did.

    Attributes
    ----------
    flow : ndarray of shape (n, 2, H, W)
        Zero where nothing has succeeded.
    loss : ndarray of shape (n,)
        Infinite where nothing has succeeded with the confidence asked for.
    found : ndarray of bool, shape (n,)
    """

    def __init__(self, problem: FlowProblem) -> None:
        self._kappa = problem.kappa
        self.flow: Float32 = np.zeros(problem.flow_shape, dtype=np.float32)
        self.loss = np.full(len(problem.x), np.inf)
        self._margin = np.zeros(len(problem.x))

    @property
    def found(self) -> Mask:
        """Where something has succeeded, with or without the confidence asked for."""
        found: Mask = np.isfinite(self.loss) | (self._margin < 0)
        return found

    def keep(self, rows: Rows, flow: Floats, margins: Float64, losses: Float64) -> None:
        """Take note of iterates: ``flow`` is that of all images, the others of ``rows``."""
        sure = (margins < 0) & (margins <= -self._kappa)
        better = sure & (losses < self.loss[rows])
        self.loss[rows[better]] = losses[better]
        if self._kappa > 0:  # until one is sure, the surest
            surer = ~sure & np.isinf(self.loss[rows]) & (margins < self._margin[rows])
            self._margin[rows[surer]] = margins[surer]
            better |= surer
        flow_kernels.keep_flows(flow, rows, better, self.flow)

    def merge(self, other: BestFlows) -> None:
        """Take from the other what is better there."""
        better = other.loss < self.loss
        better |= np.isinf(self.loss) & np.isinf(other.loss) & (other._margin < self._margin)
        self.flow[better] = other.flow[better]
        self.loss[better], self._margin[better] = other.loss[better], other._margin[better]
