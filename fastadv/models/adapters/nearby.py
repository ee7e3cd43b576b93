"""The logits of images near known ones: the model's own short cut to them, or anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities
from fastadv.arrays import Floats
from fastadv.models.base import forward_of
from fastadv.protocols import Incremental, Nearby


def nearby(model: Any, X: Floats) -> Nearby:
    """Return what follows images from ``X`` on, the model's own if it has one."""
    found: Nearby = model.nearby(X) if capabilities.able(model, Incremental) else _Anew(model)
    return found


class _Anew:
    """The logits of images near known ones, for a model that knows no short cut to them."""

    def __init__(self, model: Any) -> None:
        self._logits = forward_of(model)

    def logits(self, rows: npt.NDArray[np.intp], X: Floats) -> Floats:
        return self._logits(X)

    def move(self, rows: npt.NDArray[np.intp], X: Floats) -> None:
        """Keep nothing."""
