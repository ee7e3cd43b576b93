"""Fewer grey levels before the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv.arrays import Floats
from fastadv.defenses.preprocessors.base import Transform, behind
from fastadv.errors import require
from fastadv.protocols import Classifier, Pullback
from fastadv.specs import Checked
from fastadv.task import Task

# How sharp the stand-in of the rounding is where an attack begins and ends.
_SHARPNESS = (2.0, 16.0)
_PAST = 2.0**-20  # of the range: how far past a step it is surely taken, in float32


@dataclass(frozen=True)
class BitDepth(Checked):
    """Rounding to 2^bits grey levels, whose own gradient is 0 nearly everywhere.

    Attacked through the identity and through a smooth stand-in, and by what needs no gradient; see
    `fastadv.attacks.evasion.without_gradient`.

    Parameters
    ----------
    bits : int
        1 binarises, which is what the paper recommends for MNIST; 8 does nothing to a PNG.
    """

    bits: int = 1

    name: ClassVar[str] = "bit_depth"
    reference: ClassVar[str] = "Xu, Evans and Qi, NDSS 2018, arXiv 1704.01155, section III.A"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.bits <= 16, "bits has to be from 1 to 16", self.bits)

    def wrap(self, model: Classifier, *, task: Task) -> Classifier:
        """Return ``model`` behind the rounding."""
        low, high = (np.float32(bound) for bound in task.bounds)
        steps = np.float32(2**self.bits - 1)  # between the levels

        def transform(X: Floats) -> tuple[Floats, Pullback]:
            unit = (X - low) / (high - low)
            # floor(x + 1/2), not round: NumPy rounds halves to even, which no camera does
            out = np.floor(unit * steps + np.float32(0.5)) / steps * (high - low) + low
            return out.astype(np.float32), lambda dout: dout

        def smooth(progress: float) -> Transform:
            first, last = _SHARPNESS
            return soft_rounding(low, high, steps, np.float32(first * (last / first) ** progress))

        def next_steps(X: Floats) -> tuple[Floats, Floats]:
            level = np.floor((X - low) / (high - low) * steps + np.float32(0.5))
            below = (level - np.float32(0.5)) / steps * (high - low) + low
            above = (level + np.float32(0.5)) / steps * (high - low) + low
            past = (high - low) * np.float32(_PAST)
            nothing = np.float32(np.nan)
            return (
                np.where(level > 0, below - past, nothing),
                np.where(level < steps, above + past, nothing),
            )

        return behind(model, task, transform, "identity", smooth, next_steps)


def soft_rounding(
    low: np.float32, high: np.float32, steps: np.float32, sharpness: np.float32
) -> Transform:
    """Return a smooth stand-in of rounding [low, high] to ``steps`` + 1 levels.

    Between two levels a tanh around their middle, scaled to meet them: the identity at a sharpness
    of 0, the rounding in the limit. Its slope is nowhere 0 (Agustsson and Theis, NeurIPS 2020,
    arXiv 2006.09952, section 4.1).
    """
    scale = 2 * np.tanh(sharpness / 2)

    def transform(X: Floats) -> tuple[Floats, Pullback]:
        place = (X - low) / (high - low) * steps
        below = np.clip(np.floor(place), 0, steps - 1)
        past = sharpness * (place - below - np.float32(0.5))
        out = (below + np.float32(0.5) + np.tanh(past) / scale) / steps * (high - low) + low
        slope = sharpness / scale / np.cosh(past) ** 2
        return out, lambda dout: dout * slope

    return transform
