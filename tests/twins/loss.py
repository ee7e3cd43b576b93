"""Twin of kernels/network/loss.py, the part that no benchmark uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.reference.loss import cross_entropy, softmax  # noqa: F401

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]


def ascent(logits: Floats, labels: Ints, losses: Floats, dlogits: Floats) -> None:
    """Fill ``losses`` (n,) and ``dlogits`` (n, k): the cross-entropy, for attackers."""
    cross_entropy(logits, labels, losses, dlogits)
    for i, (row, y) in enumerate(zip(logits.astype(np.float64), labels, strict=True)):
        others = np.delete(row, y)
        spread = row.max() - row[row > -np.inf].min()
        if row[y] - others.max() <= 14 and spread <= 40:
            continue
        odds = np.log(np.exp(others - others.max()).sum()) + others.max() - row[y]
        losses[i] = odds if odds < -40 else np.logaddexp(0.0, odds)
        softer = others * (20 / spread if spread > 40 else 1.0)
        shares = np.exp(softer - softer.max())
        dlogits[i] = np.insert(shares / shares.sum(), y, -1.0)


def runner_up(logits: Floats, i: int, label: int) -> int:
    """Return the class of the largest logit in row ``i`` other than ``label``."""
    row = logits[i].astype(np.float64)
    row[label] = -np.inf
    return int(row.argmax())


def margin(logits: Floats, labels: Ints, targets: Ints, margins: Floats, rivals: Ints) -> None:
    """Fill ``margins`` (n,), negative where the attack has succeeded, and the rival classes."""
    for i in range(len(logits)):
        anchor = int(labels[i] if targets[i] < 0 else targets[i])
        rivals[i] = runner_up(logits, i, anchor)
        difference = logits[i, anchor] - logits[i, rivals[i]]
        margins[i] = difference if targets[i] < 0 else -difference


def largest(row: Floats, order: Ints) -> None:
    """Fill ``order`` with the columns of the largest entries of ``row``, the largest first."""
    order[:] = np.argsort(-row, kind="stable")[: len(order)]


def dlr(logits: Floats, labels: Ints, targets: Ints, losses: Floats, dlogits: Floats) -> None:
    """Fill ``losses`` (n,) and ``dlogits`` (n, k): the difference of logits ratio."""
    one_hot = np.eye(logits.shape[1])
    for i, (row, y, target) in enumerate(zip(logits, labels, targets, strict=True)):
        order = np.empty(3 if target < 0 else 4, dtype=np.int64)
        largest(row, order)
        if target < 0:
            numerator = one_hot[runner_up(logits, i, int(y))] - one_hot[y]
            denominator = one_hot[order[0]] - one_hot[order[2]]
        else:
            numerator = one_hot[target] - one_hot[y]
            denominator = one_hot[order[0]] - 0.5 * (one_hot[order[2]] + one_hot[order[3]])
        spread = denominator @ row
        losses[i] = numerator @ row / spread if spread > 0 else 0.0
        dlogits[i] = (numerator - losses[i] * denominator) / spread if spread > 0 else 0.0
