"""Twin of kernels/network/loss.py: what training uses."""

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
