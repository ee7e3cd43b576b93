"""A median filter before the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import capabilities
from fastadv.arrays import Floats
from fastadv.defenses.preprocessors.base import Transform, behind
from fastadv.errors import at_least, refuse
from fastadv.kernels.images import filters
from fastadv.protocols import Classifier, Pullback
from fastadv.specs import Checked
from fastadv.task import Task

# The share of the mean in the stand-in of the median where an attack begins and ends.
_SHARE = (0.5, 0.01)


@dataclass(frozen=True)
class Median(Checked):
    """Spatial smoothing by the median of a window; its gradient goes to the pixel that was taken.

    The others of the window have none, although they are what the next step has to move: attacks
    have a stand-in as well, in which they have a small one; see
    `fastadv.attacks.evasion.without_gradient`.

    Parameters
    ----------
    size : int
        Side of the window. The paper uses 2 and 3 on MNIST; 3 costs more clean accuracy.
    """

    size: int = 2

    name: ClassVar[str] = "median"
    reference: ClassVar[str] = "Xu, Evans and Qi, NDSS 2018, arXiv 1704.01155, section III.B"
    needs_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, size=self.size)

    def wrap(self, model: Classifier, *, task: Task) -> Classifier:
        """Return ``model`` behind the filter."""
        refuse(capabilities.no_pixels(self, task))
        height, width, channels = task.image_shape

        def transform(X: Floats) -> tuple[Floats, Pullback]:
            out, source = np.empty_like(X), np.empty(X.shape, dtype=np.int64)
            filters.median(X, height, width, channels, self.size, out, source)

            def pullback(dout: Floats) -> Floats:
                dx = np.empty_like(X)
                filters.scatter(np.ascontiguousarray(dout), source, dx)
                return dx

            return out, pullback

        def smooth(progress: float) -> Transform:
            first, last = _SHARE
            share = np.float32(first * (last / first) ** progress)

            def blended(X: Floats) -> tuple[Floats, Pullback]:
                (middle, pull), mean = transform(X), np.empty_like(X)
                filters.mean(X, height, width, channels, self.size, mean)

                def pullback(dout: Floats) -> Floats:
                    dx = np.empty_like(X)
                    filters.spread(
                        np.ascontiguousarray(dout), height, width, channels, self.size, dx
                    )
                    return (1 - share) * pull(dout) + share * dx

                return (1 - share) * middle + share * mean, pullback

            return blended

        return behind(model, task, transform, "exact", smooth)
