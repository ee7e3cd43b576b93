"""Fewer grey levels before the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv.arrays import Floats
from fastadv.defenses.preprocessors.base import behind
from fastadv.errors import require
from fastadv.protocols import Classifier, Pullback
from fastadv.specs import Checked
from fastadv.task import Task


@dataclass(frozen=True)
class BitDepth(Checked):
    """Rounding to 2^bits grey levels; attacked through the identity, its own gradient being 0.

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
        low, high = task.bounds
        levels = np.float32(2**self.bits - 1)
        span = np.float32(high - low)

        def transform(X: Floats) -> tuple[Floats, Pullback]:
            unit = (X - np.float32(low)) / span
            # floor(x + 1/2), not round: NumPy rounds halves to even, which no camera does
            out = np.floor(unit * levels + np.float32(0.5)) / levels * span + np.float32(low)
            return out.astype(np.float32), lambda dout: dout

        return behind(model, task, transform, "identity")
