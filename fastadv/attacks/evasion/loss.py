"""What attackers raise (cross-entropy, difference of logits ratio) and lower (the margin)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fastadv.arrays import Float64, Floats, Labels, Mask
from fastadv.errors import InputError
from fastadv.kernels.network import loss

Loss = Literal["ce", "dlr"]


def ascent(name: Loss, logits: Floats, y: Labels, target: Labels | None) -> tuple[Float64, Floats]:
    """Return what an attacker raises, (n,), and its derivative with respect to logits (n, k)."""
    return (cross_entropy_ascent if name == "ce" else dlr_ascent)(logits, y, target)


def cross_entropy_ascent(
    logits: Floats, y: Labels, target: Labels | None
) -> tuple[Float64, Floats]:
    """Return the cross-entropy of the true class, or minus that of the target; see `ascent`.

    Of a row of very sure logits the derivative is scaled, and the loss its logarithm: an attack as
    strong as on the same logits in another unit.
    """
    losses, dlogits = np.empty(len(logits)), np.empty_like(logits)
    loss.ascent(logits, y if target is None else target, losses, dlogits)
    return (losses, dlogits) if target is None else (-losses, -dlogits)


def dlr_ascent(logits: Floats, y: Labels, target: Labels | None) -> tuple[Float64, Floats]:
    """Return the difference of logits ratio (n,) and its derivative (n, k).

    A difference of two logits over the spread of the largest ones, so that no scaling of the
    logits can make its gradient vanish (Croce and Hein, ICML 2020, section 4). Raises InputError
    if there are too few classes.
    """
    least = dlr_least_classes(targeted=target is not None)
    if logits.shape[1] < least:
        raise InputError(
            f"loss=dlr compares {least} logits and the model has {logits.shape[1]}; use loss=ce"
        )
    losses, dlogits = np.empty(len(logits)), np.empty_like(logits)
    loss.dlr(logits, y, np.full(len(logits), -1) if target is None else target, losses, dlogits)
    return losses, dlogits


def margins(logits: Floats, y: Labels, target: Labels | None) -> tuple[Float64, Labels]:
    """Return the margins (n,), negative where the attack has succeeded, and the rivals (n,).

    Without a target Z_y - max of the others, with one max of the others - Z_t; the rival is the
    class of that maximum.
    """
    margin, rivals = np.empty(len(logits)), np.empty(len(logits), dtype=np.int64)
    loss.margin(logits, y, np.full(len(y), -1) if target is None else target, margin, rivals)
    return margin, rivals


def margin_slope(logits: Floats, y: Labels, target: Labels | None, rivals: Labels) -> Floats:
    """Return the derivative of `margins` with respect to the logits, (n, k)."""
    dlogits, rows = np.zeros_like(logits), np.arange(len(logits))
    dlogits[rows, y if target is None else rivals] = 1.0
    dlogits[rows, rivals if target is None else target] = -1.0
    return dlogits


def hinge(logits: Floats, y: Labels, target: Labels | None, kappa: float) -> tuple[Mask, Floats]:
    """Return where the margin is at most -kappa, and the gradient of max(margin, -kappa) (n, k).

    A tie of two logits is no success, so that at kappa = 0 it is pushed on.
    """
    margin, rivals = margins(logits, y, target)
    success = (margin < 0) & (margin <= -kappa)
    dlogits = margin_slope(logits, y, target, rivals)
    dlogits[success] = 0.0
    return success, dlogits


def dlr_least_classes(*, targeted: bool) -> int:
    """Return how many classes a model needs for the difference of logits ratio."""
    return 4 if targeted else 3
