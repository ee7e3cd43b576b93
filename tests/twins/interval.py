"""Twin of kernels/network/interval.py: centres and radii, layer by layer, as in section 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.reference import dense, loss

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]


def box(x: Floats, eps: Any, low: float, high: float) -> tuple[Floats, Floats]:
    """Return centre and radius (n, d) of what lies within ``eps`` of x and in the bounds."""
    lower, upper = np.maximum(x - eps, low), np.minimum(x + eps, high)
    return (lower + upper) / 2, (upper - lower) / 2


def _activated(a: Floats, activation: int) -> Floats:
    h = a.copy()
    dense.activate(h, activation)
    return h


def worst_logits(
    c: Floats, r: Floats, w: Floats, b: Floats, labels: Ints
) -> tuple[Floats, Floats, Floats]:
    """Return the largest Z_j - Z_y (n, k) and the two differences (n, k, width) behind it."""
    differ = w.T[None, :, :] - w.T[labels][:, None, :]  # (n, k, width): W_j - W_y
    sizes = np.abs(differ)
    worst = np.einsum("nh,nkh->nk", c, differ) + np.einsum("nh,nkh->nk", r, sizes)
    return worst + b[None, :] - b[labels][:, None], differ, np.sign(differ)


def worst_case(
    x: Floats, labels: Ints, eps: float, low: float, high: float, params: Floats, sizes: Ints,
    activation: int, weight: float, gradient: Floats,
) -> float:  # fmt: skip
    """Add ``weight`` times the gradient of the worst-case loss; return the loss, summed."""
    c, r = box(x, eps, low, high)
    stack, layers = [], dense.layers(params, sizes)
    for w, b in layers[:-1]:
        centre, radius = c @ w + b, r @ np.abs(w)
        lower = _activated(centre - radius, activation)
        upper = _activated(centre + radius, activation)
        stack.append((c, r, lower, upper))
        c, r = (lower + upper) / 2, (upper - lower) / 2
    w, b = layers[-1]
    worst, differ, signs = worst_logits(c, r, w, b, labels)
    losses, d = np.empty(len(x)), np.empty_like(worst)
    loss.cross_entropy(worst, labels, losses, d)
    d *= weight
    gradients = dense.layers(gradient, sizes)
    dw, db = gradients[-1]
    each = d[:, :, None] * (c[:, None, :] + r[:, None, :] * signs)  # (n, k, width)
    dw += each.sum(axis=0).T
    db += d.sum(axis=0)
    for i, label in enumerate(labels):
        dw[:, label] -= each[i].sum(axis=0)
        db[label] -= d[i].sum()
    dc, dr = (np.einsum("nk,nkh->nh", d, m) for m in (differ, np.abs(differ)))
    for layer in range(len(stack) - 1, -1, -1):
        c, r, lower, upper = stack[layer]
        dlower, dupper = (dc - dr) / 2, (dc + dr) / 2
        dense.multiply_by_derivative(lower, activation, dlower)
        dense.multiply_by_derivative(upper, activation, dupper)
        dcentre, dradius = dlower + dupper, dupper - dlower
        dw, db = gradients[layer]
        w = layers[layer][0]
        dw += c.T @ dcentre + np.sign(w) * (r.T @ dradius)
        db += dcentre.sum(axis=0)
        dc, dr = dcentre @ w.T, dradius @ np.abs(w).T
    return float(losses.sum())


def worst_margins(
    x: Floats, eps: Floats, labels: Ints, low: float, high: float, params: Floats, absolute: Floats,
    sizes: Ints, activation: int, unit: float, out: Floats,
) -> None:  # fmt: skip
    """Fill ``out`` (n,) with the least Z_y - max of the others; each rounding widens a box."""
    c, r = box(x, eps[:, None], low, high)
    matrices, sizes_of = dense.layers(params, sizes), dense.layers(absolute, sizes)
    for (w, b), (size, size_b) in zip(matrices[:-1], sizes_of[:-1], strict=True):
        error = _rounding(len(w), unit) * ((np.abs(c) + r) @ size + size_b)
        centre, radius = c @ w + b, r @ size + error
        lower = _activated(centre - radius, activation) - 8 * unit
        upper = _activated(centre + radius, activation) + 8 * unit
        c, r = (lower + upper) / 2, (upper - lower) / 2
    w, b = matrices[-1]
    worst = worst_logits(c, r, w, b, labels)[0]
    terms = (np.abs(c) + r) @ sizes_of[-1][0] + sizes_of[-1][1]
    worst += _rounding(len(w), unit) * (terms + terms[np.arange(len(x)), labels][:, None])
    worst[np.arange(len(x)), labels] = -np.inf
    out[:] = -worst.max(axis=1)


def _rounding(n_in: int, unit: float) -> float:
    return (1 + 1e-4) * (n_in + 1) * unit / (1 - (n_in + 1) * unit)
