"""Twin of kernels/training/unroll.py, whose second derivatives are taken by the complex step.

For a real analytic f, f(w + i h v) = f(w) + i h f'(w) v + O(h^2): with h = 1e-100 the imaginary
part is the derivative along v to rounding, for there is no difference of near numbers (Squire and
Trapp, SIAM Review 1998). So nothing here repeats the formulas of the R-operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.reference import dense
from fastadv.reference.loss import cross_entropy
from fastadv.reference.sgd import whole

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]

_STEP = 1e-100


def _above(
    a: Floats, y: Ints, upper: Floats, sizes: Ints, activation: int
) -> tuple[list[Floats], Floats, Floats, Floats, Floats]:
    """Return, for the first pre-activations ``a`` (n, h) without their bias, what follows.

    The hidden activations, P - Y, the losses, the gradient of the summed loss with respect to
    ``upper``, and its D_1.
    """
    n, (_, bias), *rest = len(a), *dense.layers(upper, sizes)
    inputs, z = [], a + bias
    for w, b in rest:
        h = z.copy()
        dense.activate(h, activation)
        inputs.append(h)
        z = h @ w + b
    losses, d = np.empty(n, z.dtype), np.empty_like(z)
    cross_entropy(z, y, losses, d)
    minus_one_hot, gradients = d.copy(), []
    for h, (w, _) in zip(reversed(inputs), reversed(rest), strict=True):
        gradients += [d.sum(axis=0), (h.T @ d).ravel()]
        d = d @ w.T
        dense.multiply_by_derivative(h, activation, d)
    gradients.append(d.sum(axis=0))
    return inputs, minus_one_hot, losses, np.concatenate(gradients[::-1]), d


def validation_loss(
    x: Floats, offset: Floats, y: Ints, setting: Any, state: Any, first: Floats, gradient: Floats
) -> float:
    """Return the mean cross-entropy; fill ``gradient`` (of upper) and ``first`` = D_1 (m, h)."""
    a = x @ state.C + (state.scale[0] * offset if len(offset) else 0.0)
    _, _, losses, total, d = _above(a, y, state.upper, setting.sizes, setting.activation)
    gradient[...], first[...] = total / len(x), d / len(x)
    return float(losses.mean())


def train(
    features: Any, offset: Floats, y: Ints, batches: Ints, rates: Floats, setting: Any, state: Any,
    trace: Any,
) -> None:  # fmt: skip
    """Take one heavy-ball step a row t of ``batches``: v = mu v - ``rates[t]`` gradient, w += v."""
    gram, (sizes, activation, momentum, alpha) = len(offset) > 0, setting
    C, velocity, scale, upper, upper_velocity = state
    X = whole(features, len(C))
    for t, batch in enumerate(batches):
        rows = [i for i in batch if i >= 0]
        n, x = len(rows), X[rows]
        a = x @ C + (scale[0] * offset[rows] if gram else 0.0)
        hidden, d, _, gradient, first = _above(a, y[rows], upper, sizes, activation)
        slot = t if len(trace.uppers) > 1 else 0
        stored = np.concatenate([part.ravel() for part in (*hidden, d)])
        trace.activations[slot, : stored.size], trace.uppers[slot] = stored, upper
        if gram:
            step = np.zeros_like(C)
            step[rows] = first
        else:
            step = x.T @ first
        dense.add_penalty(upper, sizes, alpha, gradient)
        for w, v, g in (
            (C, velocity, step + alpha * C), (upper, upper_velocity, gradient),
            (scale[:1], scale[1:], alpha * scale[:1]),
        ):  # fmt: skip
            v[...] = momentum * v - rates[t] * g / n
            w += v


def _inverse(h: Floats, activation: int) -> Floats:
    """Return a pre-activation that has the value ``h``."""
    if activation == dense.LOGISTIC:
        return np.log(h / (1.0 - h))
    return np.arctanh(h) if activation == dense.TANH else np.where(h > 0, h, -1.0)


def reverse(
    features: Any, offset: Floats, y: Ints, slots: Ints, batches: Ints, rates: Floats,
    setting: Any, trace: Any, adjoints: Any,
) -> None:  # fmt: skip
    """Run `train` backwards over what it stored. The adjoints are modified."""
    gram, (sizes, activation, momentum, alpha) = len(offset) > 0, setting
    E, V, share, upper_adjoint, upper_direction, E_poison, V_poison, rows_out, columns_out = (
        adjoints
    )
    X = whole(features, len(E))
    for t in reversed(range(len(batches))):
        rows = np.array([i for i in batches[t] if i >= 0])
        n, x, upper, learning_rate = len(rows), X[rows], trace.uppers[t], rates[t]
        bias = dense.layers(upper, sizes)[0][1]
        if len(sizes) > 2:
            a = _inverse(trace.activations[t, : n * sizes[1]].reshape(n, -1), activation) - bias
        else:  # the logits, but for a constant in each row that changes nothing
            d = trace.activations[t, : n * sizes[1]].reshape(n, -1)
            a = np.log(d + np.eye(sizes[1])[y[rows]]) - bias
        r_a = x @ V + (share[1] * offset[rows] if gram else 0.0)
        *_, gradient, first = _above(
            a + 1j * _STEP * r_a, y[rows], upper + 1j * _STEP * upper_direction, sizes, activation
        )
        gradient, first, r_first = gradient.imag / _STEP / n, first.real / n, first.imag / _STEP / n
        rows_out[:, rows] -= learning_rate * V_poison @ first.T
        step_poison = alpha / n * V_poison
        for i, slot in enumerate(slots[rows]):
            if slot >= 0:
                columns_out[slot] -= learning_rate * V @ first[i]
                step_poison[slot] += r_first[i]
        step = alpha / n * V
        if gram:
            step[rows] += r_first
        else:
            step += x.T @ r_first
        dense.add_penalty(upper_direction, sizes, alpha / n, gradient)
        for adjoint, direction, g in (
            (E, V, step), (upper_adjoint, upper_direction, gradient),
            (E_poison, V_poison, step_poison), (share[:1], share[1:], alpha / n * share[1:]),
        ):  # fmt: skip
            adjoint -= learning_rate * g
            direction[...] = momentum * direction + adjoint


def train_rows(
    products: Floats, offset: Floats, y: Ints, start: int, stop: int, learning_rate: float,
    setting: Any, state: Any, C_next: Floats, activations: Floats, gradient: Floats,
) -> None:  # fmt: skip
    """Take the rows start to stop through one step of `train` on the whole set in Gram form."""
    sizes, activation, momentum, alpha = setting
    C, velocity, scale, upper, _ = state
    rows, n = slice(start, stop), len(C)
    a = products[rows] + scale[0] * offset[rows]
    hidden, d, _, gradient[...], first = _above(a, y[rows], upper, sizes, activation)
    stored = np.concatenate([part.ravel() for part in (*hidden, d)])
    activations[: stored.size] = stored
    velocity[rows] = momentum * velocity[rows] - learning_rate / n * (first + alpha * C[rows])
    C_next[rows] = C[rows] + velocity[rows]


def reverse_rows(
    products: Floats, offset: Floats, y: Ints, slots: Ints, start: int, stop: int,
    learning_rate: float, setting: Any, activations: Floats, upper: Floats, adjoints: Any,
    V_next: Floats, gradient: Floats,
) -> None:  # fmt: skip
    """Take the rows start to stop backwards through one step of `train_rows`."""
    sizes, activation, momentum, alpha = setting
    E, V, share, _, upper_direction, _, V_poison, rows_out, columns_out = adjoints
    rows, n, size = slice(start, stop), len(E), stop - start
    stored = activations[: size * sizes[1]].reshape(size, -1)
    one_hot = np.eye(sizes[-1])[y[rows]]
    a = _inverse(stored, activation) if len(sizes) > 2 else np.log(stored + one_hot)
    a = a - dense.layers(upper, sizes)[0][1]
    r_a = products[rows] + share[1] * offset[rows]
    *_, total, first = _above(
        a + 1j * _STEP * r_a, y[rows], upper + 1j * _STEP * upper_direction, sizes, activation
    )
    gradient[...] = total.imag / _STEP / n
    first, r_first = first.real / n, first.imag / _STEP / n
    rows_out[:, rows] -= learning_rate * V_poison @ first.T
    for i, slot in enumerate(slots[rows]):
        if slot >= 0:
            columns_out[slot] -= learning_rate * V @ first[i]
    E[rows] -= learning_rate * (r_first + alpha / n * V[rows])
    V_next[rows] = momentum * V[rows] + E[rows]
