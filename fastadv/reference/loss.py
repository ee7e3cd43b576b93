"""Twin of kernels/loss.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]


def softmax(logits: Floats, out: Floats) -> None:
    """Fill ``out`` with the softmax of each row."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    out[:] = e / e.sum(axis=1, keepdims=True)


def cross_entropy(logits: Floats, labels: Ints, losses: Floats, dlogits: Floats) -> None:
    """Fill ``losses`` (n,) and ``dlogits`` (n, k): softmax minus one-hot."""
    rows = np.arange(len(logits))
    top = logits.max(axis=1)
    total = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    losses[:] = total - logits[rows, labels]
    softmax(logits, dlogits)
    dlogits[rows, labels] -= 1.0


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
