"""A mean filter before the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import capabilities
from fastadv.arrays import Floats
from fastadv.defenses.preprocessors.base import behind
from fastadv.errors import at_least, refuse
from fastadv.kernels.images import filters
from fastadv.protocols import Classifier, Pullback
from fastadv.specs import Checked
from fastadv.task import Task


@dataclass(frozen=True)
class Mean(Checked):
    """Blur by the mean of a window whose border is repeated; linear, its gradient exact.

    Parameters
    ----------
    size : int
        Side of the window; the paper takes 3.
    """

    size: int = 3

    name: ClassVar[str] = "mean"
    reference: ClassVar[str] = "Li and Li, ICCV 2017, arXiv 1612.07767"
    needs_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, size=self.size)

    def wrap(self, model: Classifier, *, task: Task) -> Classifier:
        """Return ``model`` behind the filter."""
        refuse(capabilities.no_pixels(self, task))
        window = (*task.image_shape, self.size)

        def transform(X: Floats) -> tuple[Floats, Pullback]:
            out = np.empty_like(X)
            filters.mean(X, *window, out)

            def pullback(dout: Floats) -> Floats:
                dx = np.empty_like(X)
                filters.spread(np.ascontiguousarray(dout), *window, dx)
                return dx

            return out, pullback

        return behind(model, task, transform, "exact")
