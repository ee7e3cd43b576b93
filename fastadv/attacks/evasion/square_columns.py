"""Proposals of Square Attack on columns, which have no neighbours: random subsets for windows.

As sections 3.3 and 3.4 of Andriushchenko et al. (ECCV 2020, arXiv 1912.00049), with so many columns
drawn anew in place of the pixels of a window. Each has a sign of its own.
"""

from __future__ import annotations

import numpy as np

from fastadv.arrays import Float32, Float64, Mask
from fastadv.seeds import Stream
from fastadv.task import Task


def start(norm: str, x: Float32, eps: float, free: Mask, stream: Stream) -> Float32:
    """Return x (n, d) with the whole budget on its ``free`` columns (d,), the signs at random."""
    signs = np.where(stream.uniform(0, x.shape[1]) < 0.5, np.float32(1), np.float32(-1))
    size = eps if norm == "linf" else eps / np.sqrt(max(int(free.sum()), 1))
    moved: Float32 = np.where(free, x + np.float32(size) * signs, x)
    return moved


def linf_subset(
    x: Float32, best: Float32, eps: float, share: float, free: Mask, task: Task, draws: Float32
) -> Float32:
    """Return ``best`` (n, d) with a share of its free columns at x plus or minus ``eps``.

    ``draws`` (n, 2 d) in [0, 1) say which and the signs; where that changes nothing, all signs
    turn.
    """
    d = x.shape[1]
    chosen = _subset(draws[:, :d], free, _count(share, free))
    signs = np.where(draws[:, d:] < 0.5, np.float32(1), np.float32(-1))
    low, high = task.bounds

    def proposed(signs: Float32) -> Float32:
        moved = np.clip(x + np.float32(eps) * signs, np.float32(low), np.float32(high))
        out: Float32 = np.where(chosen, moved, best)
        return out

    proposal = proposed(signs)
    same = (proposal == best).all(axis=1)
    proposal[same] = proposed(-signs)[same]
    return proposal


def l2_subset(
    x: Float32, best: Float32, eps: float, share: float, free: Mask, draws: Float32
) -> Float32:
    """Return ``best`` (n, d) with the change of some free columns taken away and put on others.

    These get all that is left of the budget, in equal parts; of the same share each.
    """
    d, n_free = x.shape[1], int(free.sum())
    h = _count(share, free)
    both = _subset(draws[:, :d], free, min(2 * h, n_free))
    onto = _subset(draws[:, :d], free, h)
    change = np.where(both, 0.0, best.astype(np.float64) - x)
    left: Float64 = np.maximum(eps**2 - (change * change).sum(axis=1, keepdims=True), 0.0)
    signs = np.where(draws[:, d:] < 0.5, 1.0, -1.0)
    change += np.where(onto, signs * np.sqrt(left / h), 0.0)
    return (x + change).astype(np.float32)


def _count(share: float, free: Mask) -> int:
    return max(round(share * int(free.sum())), 1)


def _subset(draws: Float32, free: Mask, count: int) -> Mask:
    """Return the ``count`` free columns of the smallest draws of each row, (n, d)."""
    order = np.argsort(np.where(free, draws, np.float32(2)), axis=1, kind="stable")
    chosen = np.zeros(draws.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :count], True, axis=1)
    return chosen & free
