"""ONNX graphs that are networks of dense layers, as matrices and biases.

A value of the graph is followed as the units of a layer: which of them stands where, each times a
factor and plus an offset. What orders or scales them becomes part of the next matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastadv.arrays import Float64
from fastadv.models.adapters.onnx_graph import Array, Graph, attributes
from fastadv.models.adapters.onnx_known import Unknown, folded, reshaped

_ACTIVATIONS = {"Sigmoid": "logistic", "Tanh": "tanh", "Relu": "relu"}


@dataclass
class Value:
    """What a value of the graph is, of one image: factor * unit + offset, in its shape.

    Before a matrix ``units`` (1, ...) are numbers of the units of the layer below; behind one they
    are columns of that matrix, which is not applied yet: ``open`` says so.
    """

    units: Array
    factor: Float64
    offset: Float64
    open: bool = False

    def moved(self, change: Callable[[Array], Array]) -> Value:
        """Return the same with its numbers in another order or form."""
        return Value(change(self.units), change(self.factor), change(self.offset), self.open)


@dataclass
class Layers:
    """A network of dense layers: matrices (n_in, n_out), biases (n_out,), one activation."""

    coefs: list[Float64] = field(default_factory=list)
    intercepts: list[Float64] = field(default_factory=list)
    activations: set[str] = field(default_factory=set)

    @property
    def activation(self) -> str:
        """Of all hidden layers; ``identity`` if there is none."""
        return next(iter(self.activations), "identity")

    def parts(self) -> tuple[object, ...]:
        """Return what tells it from other networks."""
        return self.coefs, self.intercepts, self.activation


def layers_of(graph: Graph, shape: tuple[int, ...]) -> Layers | None:
    """Return the layers of a graph, or None if it is no network of dense layers.

    Parameters
    ----------
    graph : Graph
        Up to its logits.
    shape : tuple of int
        Of an image as the graph takes it; units are in that order.
    """
    layers, one = Layers(), (1, *shape)
    zeros = np.zeros(one)
    units = np.arange(math.prod(shape)).reshape(one)
    values: dict[str, Value] = {graph.input: Value(units, zeros + 1, zeros)}
    constants = dict(graph.constants)
    try:
        for node in graph.nodes:
            _follow(node, values, constants, layers)
        return _closed(layers, values.get(graph.output))
    except (Unknown, ValueError, IndexError, MemoryError):
        return None


def _follow(
    node: Any, values: dict[str, Value], constants: dict[str, Array], layers: Layers
) -> None:
    """Find what a node makes: a constant, or a value that replaces the one before it.

    Two values never meet, so that nothing of what is replaced is used again.
    """
    known = [name for name in node.input if name in values]
    if not known or node.op_type == "Shape":
        shapes = {name: values[name].units.shape for name in known}
        constants.update(folded(node, constants, shapes))
        return
    if len(known) != 1:
        raise Unknown
    value, others = values[known[0]], [constants.get(name) for name in node.input if name]
    rule = None if node.domain not in ("", "ai.onnx") else _RULES.get(node.op_type)
    if rule is None or len([name for name in node.output if name]) > 1:
        raise Unknown
    values[node.output[0]] = rule(node, value, others, layers)


def _closed(layers: Layers, value: Value | None) -> Layers | None:
    """Return the layers with what was done to the last of them; None if it is no matrix."""
    if value is None or not value.open or value.units.size != layers.coefs[-1].shape[1]:
        return None
    _settle(value, layers)
    return layers if len(layers.activations) < 2 else None


def _settle(value: Value, layers: Layers) -> None:
    """Put order, factor and offset of an open value into its matrix."""
    at, factor, offset = value.units.ravel(), value.factor.ravel(), value.offset.ravel()
    layers.coefs[-1] = layers.coefs[-1][:, at] * factor
    layers.intercepts[-1] = layers.intercepts[-1][at] * factor + offset


# -- rules -----------------------------------------------------------------------------------


def _fresh(n: int, shape: tuple[int, ...], open_: bool) -> Value:
    return Value(np.arange(n).reshape(shape), np.ones(shape), np.zeros(shape), open_)


def _matrix(value: Value, W: Float64, b: Float64, layers: Layers) -> Value:
    """Return what a matrix (n_in, n_out) makes of a value (1, ..., n_in)."""
    if W.ndim != 2 or value.units.size != len(W) or value.units.shape[-1] != len(W):
        raise Unknown
    shape = (*value.units.shape[:-1], W.shape[1])
    b = np.broadcast_to(b, shape).ravel()
    if value.open:  # two matrices are one
        _settle(value, layers)
        layers.intercepts[-1] = layers.intercepts[-1] @ W + b
        layers.coefs[-1] = layers.coefs[-1] @ W
    else:
        at, factor, offset = value.units.ravel(), value.factor.ravel(), value.offset.ravel()
        below = layers.coefs[-1].shape[1] if layers.coefs else len(at)
        placed = np.zeros((below, W.shape[1]))
        np.add.at(placed, at, factor[:, np.newaxis] * W)
        layers.coefs.append(placed)
        layers.intercepts.append(offset @ W + b)
    return _fresh(W.shape[1], shape, True)


def _wide(array: Array | None) -> Float64:
    if array is None or array.dtype.kind not in "fiu":
        raise Unknown
    return np.asarray(array, dtype=np.float64)


def _matmul(node: Any, value: Value, others: Any, layers: Layers) -> Value:
    return _matrix(value, _wide(others[1]), np.zeros(1), layers)


def _gemm(node: Any, value: Value, others: Any, layers: Layers) -> Value:
    said = attributes(node)
    if said.get("transA"):
        raise Unknown
    W = _wide(others[1]).T if said.get("transB") else _wide(others[1])
    b = _wide(others[2]) if len(others) > 2 else np.zeros(1)
    return _matrix(value, said.get("alpha", 1.0) * W, said.get("beta", 1.0) * b, layers)


def _arithmetic(node: Any, value: Value, others: Any, layers: Layers) -> Value:
    """Return a value plus, minus, times, or by a constant that fits into its shape."""
    first = others[0] is None  # the value, then the constant
    number = _wide(others[1] if first else others[0])
    shape = np.broadcast_shapes(number.shape, value.units.shape)
    if math.prod(shape) != value.units.size:
        raise Unknown
    value, number = value.moved(lambda a: a.reshape(shape)), np.broadcast_to(number, shape)
    factor, offset, kind = value.factor, value.offset, node.op_type
    if kind == "Add":
        offset = offset + number
    elif kind == "Sub":
        factor, offset = (factor, offset - number) if first else (-factor, number - offset)
    elif kind == "Mul":
        factor, offset = factor * number, offset * number
    elif kind == "Div" and first:
        factor, offset = factor / number, offset / number
    else:
        raise Unknown
    return Value(value.units, factor, offset, value.open)


def _normalised(node: Any, value: Value, others: Any, layers: Layers) -> Value:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, for each channel."""
    said = attributes(node)
    if said.get("training_mode") or len(value.units.shape) < 2:
        raise Unknown
    form = (1, -1, *[1] * (len(value.units.shape) - 2))
    scale, bias, mean, variance = (_wide(other).reshape(form) for other in others[1:5])
    scale = scale / np.sqrt(variance + said.get("epsilon", 1e-5))
    offset = (value.offset - mean) * scale + bias
    return Value(value.units, value.factor * scale, offset, value.open)


def _activated(node: Any, value: Value, others: Any, layers: Layers) -> Value:
    if not value.open:
        raise Unknown
    _settle(value, layers)
    layers.activations.add(_ACTIVATIONS[node.op_type])
    return _fresh(value.units.size, value.units.shape, False)


def _same(node: Any, value: Value, others: Any, layers: Layers) -> Value:
    training = others[2] if len(others) > 2 else None
    if node.op_type == "Dropout" and training is not None and np.any(training):
        raise Unknown
    if node.op_type == "Cast" and attributes(node).get("to") not in (1, 11):
        raise Unknown
    return value


def _reshape(node: Any, value: Value, others: Any, layers: Layers) -> Value:
    shape = reshaped(node, value.units.shape, others[1] if len(others) > 1 else None)
    return value.moved(lambda a: a.reshape(shape))


def _transpose(node: Any, value: Value, others: Any, layers: Layers) -> Value:
    axes = attributes(node).get("perm") or list(range(value.units.ndim))[::-1]
    return value.moved(lambda a: a.transpose(axes))


_RULES: dict[str, Callable[[Any, Value, Any, Layers], Value]] = {
    "MatMul": _matmul, "Gemm": _gemm,
    "Add": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic, "Div": _arithmetic,
    "BatchNormalization": _normalised,
    "Sigmoid": _activated, "Tanh": _activated, "Relu": _activated,
    "Identity": _same, "Dropout": _same, "Cast": _same,
    "Flatten": _reshape, "Reshape": _reshape, "Squeeze": _reshape, "Unsqueeze": _reshape,
    "Transpose": _transpose,
}  # fmt: skip
