"""What of an ONNX graph is known before there are images: shapes, and sums of constants."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fastadv.models.adapters.onnx_file import MOST_VALUES, library
from fastadv.models.adapters.onnx_graph import Array, Graph, attributes

# Operators that are computed beforehand where all that they take is known.
_FOLDED = {
    "Gather", "Concat", "Slice", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Cast", "Identity",
    "Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "Reciprocal", "ReduceProd", "Flatten",
}  # fmt: skip


class Unknown(Exception):
    """Raised where a graph is not of the kind that is looked for."""


def known_beforehand(graph: Graph) -> Graph:
    """Return the graph with what is made of constants alone as constants."""
    nodes, constants = [], dict(graph.constants)
    for node in graph.nodes:
        try:
            constants.update(folded(node, constants, {}))
        except Unknown:
            nodes.append(node)
    made = replace(graph, nodes=nodes, constants=constants)
    return made.upto(graph.output) if nodes else graph


def folded(
    node: Any, constants: dict[str, Array], shapes: dict[str, tuple[int, ...]]
) -> dict[str, Array]:
    """Return what a node makes of constants, or of the shape of a value.

    Raises
    ------
    Unknown
        If it is no operator that is computed beforehand, or makes too many numbers.
    """
    if node.op_type == "Shape" and node.input[0] in shapes:
        said = attributes(node)
        shape = shapes[node.input[0]][said.get("start", 0) : said.get("end")]
        return {node.output[0]: np.array(shape, dtype=np.int64)}
    given = {name: constants[name] for name in node.input if name in constants}
    if node.domain or node.op_type not in _FOLDED or len(given) < len([n for n in node.input if n]):
        raise Unknown
    most = max((array.size for array in given.values()), default=0)
    if node.op_type in ("Add", "Sub", "Mul", "Div"):
        most = math.prod(np.broadcast_shapes(*(array.shape for array in given.values())))
    if most > MOST_VALUES:
        raise Unknown
    try:
        made = library("onnx.reference").ReferenceEvaluator(node).run(None, given)
    except Exception:  # of onnx and NumPy
        raise Unknown from None
    return dict(zip(node.output, map(np.asarray, made), strict=False))


def reshaped(node: Any, shape: tuple[int, ...], told: Array | None) -> tuple[int, ...]:
    """Return the shape that Reshape, Flatten, Squeeze or Unsqueeze makes of a shape.

    Parameters
    ----------
    told : ndarray of int or None
        The node's second input, if it is known.

    Raises
    ------
    Unknown
        If it hangs on what is not known.
    """
    said, kind = attributes(node), node.op_type
    if kind == "Flatten":
        axis = said.get("axis", 1)
        axis += len(shape) if axis < 0 else 0
        return (math.prod(shape[:axis]), math.prod(shape[axis:]))
    if len(node.input) > 1 and node.input[1] and told is None:
        raise Unknown
    numbers = said.get("axes", said.get("shape"))
    if told is not None:
        numbers = [int(n) for n in told.ravel()]
    if kind == "Reshape":
        keeps = not said.get("allowzero", 0)
        made = [shape[i] if n == 0 and keeps else n for i, n in enumerate(numbers or [])]
        rest = math.prod(n for n in made if n != -1)
        return tuple(math.prod(shape) // rest if n == -1 else n for n in made)
    if kind == "Squeeze":
        axes = range(len(shape)) if numbers is None else [n % len(shape) for n in numbers]
        return tuple(n for i, n in enumerate(shape) if i not in axes or n != 1)
    if numbers is None:
        raise Unknown
    ndim = len(shape) + len(numbers)
    left, added = iter(shape), {n % ndim for n in numbers}
    return tuple(1 if i in added else next(left) for i in range(ndim))
