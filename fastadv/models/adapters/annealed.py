"""A defended model without a useful gradient, with the gradients of its smooth stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities
from fastadv.arrays import Floats
from fastadv.batches import CALLED
from fastadv.capabilities import said
from fastadv.models.adapters.counting import Counted
from fastadv.models.base import DifferentiableModel
from fastadv.protocols import Pullback


class Annealed(DifferentiableModel):
    """The logits of a defended model, and gradients of its stand-in, sharper from one to the next.

    What an attack tells its successes by is the defended model, so that it keeps an image that
    changes that. For one chunk of images: the place on the way is the number of gradients so far.

    Parameters
    ----------
    defended : Model
        One of which `fastadv.capabilities.surrogate` has a stand-in.
    steps : int
        Gradients from the smoothest stand-in to the sharpest; then it begins again, as attacks do
        at their next start.
    """

    def __init__(self, defended: Any, steps: int) -> None:
        # Of models from outside both are checked here.
        self._defended, self._steps, self._taken = Counted(defended), steps, 0
        self.classes_: npt.NDArray[Any] = self._defended.classes_
        self.batch_rows, self.any_thread = (said(defended, name) for name in CALLED)

    def logits(self, X: Floats) -> Floats:
        """Return the logits of the defended model (n, k), in the calling thread."""
        return self._defended.logits(X)

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits of the defended model (n, k) and the pullback of the stand-in."""
        logits, X = self._defended.logits(X), X.copy()  # attacks move their images in place
        passed: list[Pullback] = []

        def pullback(dlogits: Floats) -> Floats:
            if not passed:
                progress = (self._taken % self._steps + 0.5) / self._steps
                self._taken += 1
                surrogate = capabilities.surrogate(self._defended.model, progress)
                passed.append(Counted(surrogate).vjp(X)[1])
            return passed[0](np.ascontiguousarray(dlogits))

        return logits, pullback
