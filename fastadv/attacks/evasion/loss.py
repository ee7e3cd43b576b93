"""The cross-entropy as attackers climb it."""

from __future__ import annotations

import numpy as np

from fastadv.kernels import loss
from fastadv.protocols import Float64, Floats, Labels


def cross_entropy_ascent(
    logits: Floats, y: Labels, target: Labels | None
) -> tuple[Float64, Floats]:
    """Return what an attacker raises, (n,), and its derivative with respect to the logits (n, k).

    That is the cross-entropy of the true class, or minus that of the target.
    """
    losses, dlogits = np.empty(len(logits)), np.empty_like(logits)
    loss.cross_entropy(logits, y if target is None else target, losses, dlogits)
    return (losses, dlogits) if target is None else (-losses, -dlogits)
