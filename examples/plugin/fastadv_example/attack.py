"""An evasion attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastadv import Task
from fastadv.arrays import Floats, Labels
from fastadv.attacks.evasion.base import Evasion
from fastadv.errors import at_least
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.threat import Threat, linf


@dataclass(frozen=True)
class Brightness(Evasion):
    """The whole image brighter, or the whole image darker.

    Parameters
    ----------
    eps : float
        The budget: by how much each pixel value changes.
    """

    eps: float = 0.2

    name: ClassVar[str] = "brightness"
    reference: ClassVar[str] = "an example"

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        at_least(0, eps=self.eps)

    def threat(self) -> Threat:
        """Return what the attack's figures are conditional on."""
        return linf(self.eps)

    def craft(
        self,
        model: Model,
        x: Floats,
        y: Labels,
        target: Labels | None,
        *,
        task: Task,
        stream: Stream,
    ) -> tuple[Floats, dict[str, Any]]:
        """Go the way in which the logit of the class falls, or that of the target rises."""
        logits, pullback = model.vjp(x)
        dlogits = np.zeros_like(logits)
        rows = np.arange(len(x))
        if target is None:
            dlogits[rows, y] = -1
        else:
            dlogits[rows, target] = 1
        way = np.sign(pullback(dlogits).sum(axis=1, keepdims=True))
        x_adv = np.clip(x + np.float32(self.eps) * way, *task.bounds)
        return x_adv.astype(np.float32), {}
