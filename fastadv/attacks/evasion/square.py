"""Square Attack: random windows, kept if the margin falls (Andriushchenko et al., ECCV 2020)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.attacks.evasion import ball, square_columns
from fastadv.attacks.evasion.base import Details
from fastadv.attacks.evasion.loss import margins
from fastadv.errors import at_least, require
from fastadv.kernels.images import square as kernels
from fastadv.models.adapters.nearby import nearby
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task

# Of 10,000 windows those after which they get half the area (section 3.3 and its code).
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_TILES = 5  # a side, of the first change in L2


@dataclass(frozen=True)
class Square(ball.InBall):
    """A black-box attack that sees nothing but logits: random search over square windows.

    It needs no gradient, so that a model whose gradients are hidden is no safer from it: where it
    does more harm than a white-box attack, that attack has failed. Columns of a table have no
    windows: random subsets of them change.

    Parameters
    ----------
    eps : float
        The budget, in pixel values; of columns as a share of their ranges.
    norm : {"linf", "l2"}
    queries : int
        Proposals an image, at most; images that are done ask no further. The paper's is 10,000, and
        its schedule of window sizes is rescaled to any number.
    area : float
        The share of the image, or of the columns, that the first windows cover, halved nine times
        on the way (the paper's p; 0.8 on MNIST).
    edges : bool
        Let windows cover the last row and column too, as the paper has it. The authors' code, and
        so every published figure, leaves them alone. Wanted where the edges matter.
    """

    eps: float = 0.1
    norm: ball.Norm = "linf"
    queries: int = 2000
    area: float = 0.8
    edges: bool = False

    name: ClassVar[str] = "square"
    reference: ClassVar[str] = "Andriushchenko et al., ECCV 2020, arXiv 1912.00049, section 3"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, queries=self.queries)
        require(0 < self.area <= 1, "area has to be above 0 and at most 1", self.area)

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
        """Propose and keep what lowers the margin; images that are done leave the batch."""
        out, rows, best, near = x.copy(), np.arange(len(x)), x.copy(), nearby(model, x)
        margin = margins(near.logits(rows, x), y, target)[0]
        for query in range(self.queries):
            if query == 0 or (margin < 0).any():
                out[rows] = best
                left = np.flatnonzero(margin >= 0)
                rows, x, y, best, margin = rows[left], x[left], y[left], best[left], margin[left]
                target, stream = None if target is None else target[left], stream.rows(left)
                if not len(rows):
                    break
            proposal = self._propose(query, x, best, task, stream)
            next_margin = margins(near.logits(rows, proposal), y, target)[0]
            better = (next_margin < margin) if query > 0 else np.ones(len(x), dtype=bool)
            best[better], margin[better] = proposal[better], next_margin[better]
            near.move(rows[better], proposal[better])
        out[rows] = best
        return out, {}

    def _propose(
        self, query: int, x: Float32, best: Float32, task: Task, stream: Stream
    ) -> Float32:
        """Return the points to try: a first random pattern, then changed windows."""
        channels = task.image_shape[2]
        if task.columns is not None:
            proposal = self._propose_columns(query, x, best, task, stream)
        elif query == 0:
            pattern = _stripes if self.norm == "linf" else _bumps
            proposal = x + np.float32(self.eps) * pattern(task, stream)
        else:
            proposal, shape = best.copy(), task.image_shape
            spared = self._spared(task)
            side = self._side(query, task)
            if self.norm == "linf":
                draws = stream.uniform(query, 2 + channels)
                kernels.linf_window(x, self.eps, *task.bounds, shape, side, spared, draws, proposal)
            else:
                draws = stream.uniform(query, 5 + channels)
                kernels.l2_window(x, self.eps, shape, _bump(side), spared, draws, proposal)
        ball.project_onto(self.norm, x, self.eps, task, proposal)
        return task.brought_back(x, proposal, self.norm, self.eps)

    def _propose_columns(
        self, query: int, x: Float32, best: Float32, task: Task, stream: Stream
    ) -> Float32:
        """Return what to try of columns, not yet brought into the ball."""
        found, d = task.movable(self.norm, self.eps), x.shape[1]
        free = np.ones(d, dtype=bool) if found is None else found
        if query == 0:
            return square_columns.start(self.norm, x, self.eps, free, stream)
        draws, share = stream.uniform(query, 2 * d), self._share(query)
        if self.norm == "linf":
            return square_columns.linf_subset(x, best, self.eps, share, free, task, draws)
        return square_columns.l2_subset(x, best, self.eps, share, free, draws)

    def _share(self, query: int) -> float:
        """Return the share of the image that the windows of this query cover."""
        halved = sum((query - 1) * 10000 > after * self.queries for after in _HALVINGS)
        return self.area * 0.5**halved

    def _side(self, query: int, task: Task) -> int:
        """Return the side of the windows of this query, in pixels."""
        height, width, _ = task.image_shape
        side = max(round(math.sqrt(self._share(query) * height * width)), 1)
        if self.norm == "l2":  # a bump has a middle and two halves
            side = max(side + (side + 1) % 2, 3)
        return min(side, min(height, width) - self._spared(task))

    def _spared(self, task: Task) -> int:
        """Return how many of the last rows and columns are left alone: one, where there is one."""
        return int(not self.edges and min(task.image_shape[:2]) > 1)


def _stripes(task: Task, stream: Stream) -> Float32:
    """Return a sign for each column and channel of each image, (n, d) (section 3.3)."""
    height, width, channels = task.image_shape
    signs = np.where(stream.uniform(0, width * channels) < 0.5, np.float32(1), np.float32(-1))
    return np.tile(signs, (1, height))


def _bumps(task: Task, stream: Stream) -> Float32:
    """Return tiles of bumps of random sign, (n, d), of norm 1 (section 3.4)."""
    height, width, channels = task.image_shape
    side = max(min(height, width) // _TILES, 1)
    down, across = height // side, width // side
    first_row, first_column = (height - down * side) // 2, (width - across * side) // 2
    draws = stream.uniform(0, down * across * (1 + channels)) < 0.5
    draws = draws.reshape(-1, down, across, 1 + channels)
    out = np.zeros((len(draws), height, width, channels))
    bump = _bump(side)[:, :, None]
    for i in range(down):
        for j in range(across):
            rows = slice(first_row + i * side, first_row + (i + 1) * side)
            columns = slice(first_column + j * side, first_column + (j + 1) * side)
            turned = draws[:, i, j, 0, None, None, None]
            signs = np.where(draws[:, i, j, None, None, 1:], 1.0, -1.0)
            out[:, rows, columns] = signs * np.where(turned, bump.swapaxes(0, 1), bump)
    flat = out.reshape(len(draws), -1)
    scaled: Float32 = (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32)
    return scaled


@functools.cache
def _bump(side: int) -> Float64:
    """Return two pyramids side by side, one up and one down, (side, side), of norm 1 (eq. 2).

    Each has half of the whole, as in the paper's code, also where one is a pixel wider.
    """
    half = side // 2
    halves = [_pyramid(side, half), -_pyramid(side, side - half)]
    bump = np.concatenate([part / np.linalg.norm(part) for part in halves if part.size], axis=1)
    return np.ascontiguousarray(bump / np.linalg.norm(bump))


def _pyramid(height: int, width: int) -> Float64:
    """Return rings around the middle of a rectangle, each the higher the nearer to it (eq. 2)."""
    n = height // 2
    down = np.abs(np.arange(height) - height // 2)
    across = np.abs(np.arange(width) - width // 2)
    rings = n - np.maximum(down[:, None], across[None, :])  # the paper's M
    heights = np.concatenate([[0.0], np.cumsum(1.0 / (n + 1.0 - np.arange(n + 1)) ** 2)])
    pyramid: Float64 = heights[np.maximum(rings + 1, 0)]
    return pyramid
