"""A perceptron as the kernels take it: every parameter in one vector, and the layers' widths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32
from fastadv.batches import map_rows
from fastadv.errors import InputError
from fastadv.kernels.network import dense

Ints = npt.NDArray[np.int64]


class Network(NamedTuple):
    """The parameters, the widths from the input to the logits, and the activation's code."""

    params: Float32
    sizes: Ints
    activation: int

    @property
    def n_layers(self) -> int:
        """How many matrices there are."""
        return len(self.sizes) - 1

    def matrix(self, layer: int) -> Float32:
        """Return the matrix of a layer, (n_in, n_out); a view."""
        start, shape = n_params(self.sizes[: layer + 1]), self.sizes[layer : layer + 2]
        return self.params[start : start + int(shape.prod())].reshape(shape)

    def bias(self, layer: int) -> Float32:
        """Return the bias of a layer, (n_out,); a view."""
        stop = n_params(self.sizes[: layer + 2])
        return self.params[stop - int(self.sizes[layer + 1]) : stop]

    def buffers(self, n: int) -> tuple[Float32, Float32]:
        """Return empty arrays for the hidden activations of ``n`` rows and their logits (n, k)."""
        hidden = np.empty(n * int(self.sizes[1:-1].sum()), dtype=np.float32)
        return hidden, np.empty((n, int(self.sizes[-1])), dtype=np.float32)

    def forward(self, x: Float32) -> tuple[Float32, Float32]:
        """Return the logits (n, k) and the hidden activations as the kernels lay them out."""
        hidden, logits = self.buffers(len(x))
        dense.forward(x, *self, hidden, logits)
        return logits, hidden

    def backward(self, x: Float32, hidden: Float32, dlogits: Float32) -> Float32:
        """Return the gradient of all parameters (P,), summed over the rows, after `forward`."""
        deltas, out = np.empty_like(hidden), np.empty_like(self.params)
        dense.backward(*self, hidden, dlogits, deltas)
        dense.parameter_gradient(x, self.sizes, hidden, dlogits, deltas, out)
        return out


class Packed:
    """The matrices as `dense.pack` lays them out: when asked for, and anew after each change."""

    def __init__(self, params: Float32, sizes: Ints) -> None:
        self._params, self._sizes = params, sizes
        self._packed: Float32 | None = None

    def changed(self) -> None:
        """Forget what is packed."""
        self._packed = None

    def __call__(self) -> Float32:
        """Return the packed matrices."""
        packed = self._packed
        if packed is None:
            size = dense.packed_size(self._sizes, self._params)
            packed = np.empty(size, dtype=np.float32)
            dense.pack(self._params, self._sizes, packed)
            self._packed = packed
        return packed


def n_params(sizes: Ints) -> int:
    """Return how many parameters a network of these widths has."""
    return int(((sizes[:-1] + 1) * sizes[1:]).sum())


def layers_of(
    coefs: Sequence[npt.ArrayLike], intercepts: Sequence[npt.ArrayLike]
) -> tuple[list[Float32], list[Float32]]:
    """Return the matrices (n_in, n_out) and biases (n_out,) of a network's layers, checked.

    A last layer of one column is given a column of zeros before it: its value z, of which the
    logistic function is the probability of the second class, becomes the logits (0, z).

    Raises
    ------
    InputError
        If the shapes do not fit together, or a weight is not finite.
    """
    with np.errstate(over="ignore"):  # said below
        matrices = [np.asarray(coef, dtype=np.float32) for coef in coefs]
        biases = [np.asarray(intercept, dtype=np.float32) for intercept in intercepts]
    if not matrices or len(matrices) != len(biases):
        raise InputError(f"{len(matrices)} coefs and {len(biases)} intercepts: one each a layer")
    for k, (w, b) in enumerate(zip(matrices, biases, strict=True)):
        before = matrices[k - 1].shape[-1] if k else None
        if w.ndim != 2 or before not in (None, w.shape[0]) or b.shape != w.shape[1:]:
            raise InputError(
                f"layer {k}: coefs {w.shape} and intercepts {b.shape} do not fit; "
                f"expected ({before or 'n_in'}, n_out) and (n_out,)"
            )
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise InputError(f"layer {k}: a weight is NaN or infinite in float32")
    if matrices[-1].shape[1] == 1:
        matrices[-1] = np.hstack([np.zeros_like(matrices[-1]), matrices[-1]])
        biases[-1] = np.hstack([np.zeros_like(biases[-1]), biases[-1]])
    return matrices, biases


def add_up(
    model: Any,
    block: Callable[[int, int], tuple[Float32, float]],
    n: int,
    rows: int,
    out: Float32,
) -> float:
    """Fill ``out`` (P,) with the gradient of a batch of ``n``, and return its loss.

    Parameters
    ----------
    model : Model
        As it stands; it may say how many rows it wants at once.
    block : callable
        ``block(start, stop)`` returns both for some rows, summed over them. The blocks are of
        ``rows`` rows and are added in their order, so that no number hangs on the threads.
    """
    blocks = map_rows(model, block, n, rows)
    out[:] = blocks[0][0]
    for gradient, _ in blocks[1:]:
        out += gradient
    return sum(loss for _, loss in blocks)
