"""Rotations and translations, searched without gradients (Engstrom et al., ICML 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from fastadv import threat
from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.attacks.evasion.base import Details, Evasion
from fastadv.attacks.evasion.best import succeeds
from fastadv.attacks.evasion.loss import cross_entropy_ascent
from fastadv.errors import at_least, require
from fastadv.kernels.images import affine
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat

_GRID_SHIFTS, _GRID_ANGLES = 5, 31  # the paper's, section 4: 775 in all


@dataclass(frozen=True)
class Spatial(Evasion):
    """The first rotation and translation that changes the label, black beyond the border.

    Parameters
    ----------
    rotation : float
        The largest angle, in degrees. The paper's is 30.
    translation : float
        The largest shift along each axis, in pixels. The paper's is 3 for MNIST.
    method : {"grid", "random"}
        ``grid`` tries 5 x 5 shifts at 31 angles, the mild ones first; ``random`` tries ``samples``
        drawn uniformly, the paper's "worst of 10".
    samples : int
        Of the random method.

    Notes
    -----
    An image leaves the batch when its label has changed; until then the move of the highest loss
    is kept.
    """

    rotation: float = 30.0
    translation: float = 3.0
    method: Literal["grid", "random"] = "grid"
    samples: int = 10

    name: ClassVar[str] = "spatial"
    reference: ClassVar[str] = "Engstrom et al., ICML 2019, arXiv 1712.02779, section 3"
    needs_pixels: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.rotation <= 180, "rotation has to be from 0 to 180", self.rotation)
        at_least(0, translation=self.translation)
        at_least(1, samples=self.samples)
        if self.method == "grid":
            self.no_part("it is for method=random", "samples")

    def threat(self) -> Threat:
        """Return the largest angle and shift."""
        return threat.rotation_translation(self.rotation, self.translation)

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
        """Try moves; details: ``move`` (n, 3), degrees and pixels down and to the right."""
        best, best_move = x.copy(), np.zeros((len(x), 3))
        best_loss, rows = np.full(len(x), -np.inf), np.arange(len(x))
        for moves in self._moves(stream):
            some = np.ascontiguousarray(moves[rows])
            x_adv = np.empty_like(x[rows])
            affine.rotate_translate(x[rows], *task.image_shape, task.bounds[0], some, x_adv)
            logits = model.logits(x_adv)
            wanted = None if target is None else target[rows]
            losses, _ = cross_entropy_ascent(logits, y[rows], wanted)
            done = succeeds(logits, y[rows], wanted)
            better = done | (losses > best_loss[rows])
            best[rows[better]], best_move[rows[better]] = x_adv[better], some[better]
            best_loss[rows[better]] = losses[better]
            rows = rows[~done]
            if not len(rows):
                break
        return best, {"move": best_move}

    def _moves(self, stream: Stream) -> Iterator[Float64]:
        """Yield what to try next for each image, (n, 3)."""
        size = np.array([self.rotation, self.translation, self.translation])
        if self.method == "random":
            for draw in range(self.samples):
                yield size * stream.uniform(draw, 3, -1.0, 1.0).astype(np.float64)
            return
        shifts = np.linspace(-1, 1, _GRID_SHIFTS)
        angles = np.linspace(-1, 1, _GRID_ANGLES)
        grid = np.stack(np.meshgrid(angles, shifts, shifts, indexing="ij"), axis=-1).reshape(-1, 3)
        for move in grid[np.argsort((grid**2).sum(axis=1), kind="stable")]:
            yield np.broadcast_to(move * size, (len(stream.ids), 3))

    def measure(self, x: Floats, x_adv: Floats, details: Details, task: Task) -> dict[str, Float64]:
        """Return pixel distances, ``rotation`` in degrees, ``translation`` along the longer axis.

        ``spatial`` is the larger of both as shares of what is allowed.
        """
        out = super().measure(x, x_adv, details, task)
        move: Float64 = np.abs(details["move"])
        out["rotation"], out["translation"] = move[:, 0], move[:, 1:].max(axis=1)
        allowed = (max(self.rotation, 1e-12), max(self.translation, 1e-12))
        shares = out["rotation"] / allowed[0], out["translation"] / allowed[1]
        out["spatial"] = np.maximum(*shares)
        return out
