"""Twin of kernels/network/dense.py: a list of matrices and the chain rule, layer by layer.

Complex parameters are taken too, for derivatives by the complex step (tests/twins/unroll.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]

LOGISTIC, TANH, RELU = 0, 1, 2


def layers(params: Floats, sizes: Ints) -> list[tuple[Floats, Floats]]:
    """Return (matrix, bias) of each layer: views of the parameter vector."""
    out, start = [], 0
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        middle, stop = start + n_in * n_out, start + (n_in + 1) * n_out
        out.append((params[start:middle].reshape(n_in, n_out), params[middle:stop]))
        start = stop
    return out


def blocks(vector: Floats, sizes: Ints, n: int) -> list[Floats]:
    """Return the activations (n, width) of each hidden layer: views of one vector."""
    out, start = [], 0
    for width in sizes[1:-1]:
        out.append(vector[start : start + n * width].reshape(n, width))
        start += n * width
    return out


def hidden_width(sizes: Ints) -> int:
    """Return the number of hidden units of all layers."""
    return int(sum(sizes[1:-1]))


def activate(a: Floats, activation: int) -> None:
    """Apply the activation function to ``a``."""
    if activation == LOGISTIC:
        a[:] = 1.0 / (1.0 + np.exp(-a))
    elif activation == TANH:
        a[:] = np.tanh(a)
    else:
        a[:] = np.maximum(a, 0.0)


def multiply_by_derivative(h: Floats, activation: int, d: Floats) -> None:
    """Multiply ``d`` by the activation's derivative, from its value ``h``."""
    if activation == LOGISTIC:
        d *= h * (1.0 - h)
    elif activation == TANH:
        d *= 1.0 - h**2
    else:
        d *= h > 0.0


def affine(x: Floats, w: Floats, b: Floats, out: Floats) -> None:
    """Fill ``out`` with x W + b."""
    out[:] = x @ w + b


def forward(
    X: Floats, params: Floats, sizes: Ints, activation: int, hidden: Floats, logits: Floats
) -> None:
    """Fill the activations of all hidden layers and the logits."""
    first = [*blocks(hidden, sizes, len(X)), logits][0]
    affine(X, *layers(params, sizes)[0], first)
    forward_above(params, sizes, activation, hidden, logits)


def forward_above(
    params: Floats, sizes: Ints, activation: int, hidden: Floats, logits: Floats
) -> None:
    """Go on from the sums of the first layer."""
    outputs = [*blocks(hidden, sizes, len(logits)), logits]
    for k, (w, b) in enumerate(layers(params, sizes)[1:]):
        activate(outputs[k], activation)
        affine(outputs[k], w, b, outputs[k + 1])


def backward(
    params: Floats, sizes: Ints, activation: int, hidden: Floats, dlogits: Floats, deltas: Floats
) -> None:
    """Fill ``deltas`` with d(loss)/d(pre-activation) of the hidden layers."""
    n, matrices = len(dlogits), [w for w, _ in layers(params, sizes)]
    hs, ds = blocks(hidden, sizes, n), [*blocks(deltas, sizes, n), dlogits]
    for k in range(len(hs) - 1, -1, -1):
        ds[k][:] = ds[k + 1] @ matrices[k + 1].T
        multiply_by_derivative(hs[k], activation, ds[k])


def add_penalty(vector: Floats, sizes: Ints, factor: float, out: Floats) -> None:
    """Add ``factor`` times the matrices, not the biases, of ``vector`` to ``out``."""
    if factor != 0.0:
        for (v, _), (w, _) in zip(layers(vector, sizes), layers(out, sizes), strict=True):
            w += factor * v


def parameter_gradient(
    X: Floats, sizes: Ints, hidden: Floats, dlogits: Floats, deltas: Floats, gradient: Floats
) -> None:
    """Fill ``gradient`` with that of all parameters, summed over rows."""
    inputs = [X, *blocks(hidden, sizes, len(X))]
    ds = [*blocks(deltas, sizes, len(X)), dlogits]
    for x, d, (w, b) in zip(inputs, ds, layers(gradient, sizes), strict=True):
        w[:], b[:] = x.T @ d, d.sum(axis=0)
