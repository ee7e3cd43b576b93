"""What is written while an ONNX graph is differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastadv.models.adapters.onnx_file import library
from fastadv.models.adapters.onnx_graph import Array, Graph, attributes, hanging_on

Shape = tuple[int, ...]


class NoGradient(Exception):
    """Raised at an operator that is not differentiated here; its text names it."""


class Tape:
    """What is written while a graph is differentiated from its end to its beginning.

    Parameters
    ----------
    graph : Graph
    shapes : dict of str to tuple of int
        Of all values, for a batch that is not of one image unless the graph takes no other.
    dtypes : dict of str to dtype
        Of the same.
    """

    def __init__(self, graph: Graph, shapes: dict[str, Shape], dtypes: dict[str, Any]) -> None:
        self.shapes, self.dtypes, self.known = shapes, dtypes, graph.constants
        self.active = hanging_on(graph)
        self.forward: list[Any] = list(graph.nodes)
        self.backward: list[Any] = []
        self.constants: dict[str, Array] = {}
        self._count = 0
        self._shapes_of: dict[str, str] = {}

    def _name(self) -> str:
        self._count += 1
        return f"fastadv/{self._count}"

    def emit(self, kind: str, *inputs: str, **said: Any) -> str:
        """Add an operator to the backward graph; return the name of what it makes."""
        out = self._name()
        self.backward.append(library("onnx").helper.make_node(kind, list(inputs), [out], **said))
        return out

    def array(self, values: Any, dtype: Any = np.int64) -> str:
        """Add a constant."""
        out = self._name()
        self.constants[out] = np.asarray(values, dtype=dtype)
        return out

    def number(self, value: float, like: str) -> str:
        """Add a constant number of the type of a value."""
        return self.array(value, self.dtypes[like])

    def shape_of(self, name: str) -> str:
        """Return what the shape of a value will be, for any batch."""
        if name not in self._shapes_of:
            out = self._shapes_of[name] = self._name()
            make = library("onnx").helper.make_node
            self.forward.append(make("Shape", [name], [out]))
        return self._shapes_of[name]

    def size_of(self, name: str) -> Shape:
        """Return the shape of a value, or of a constant."""
        return self.shapes[name] if name in self.shapes else self.known[name].shape

    def like(self, slope: str, name: str) -> str:
        """Return a slope in the form of a value."""
        return self.emit("Reshape", slope, self.shape_of(name))

    def summed(self, slope: str, output: str, name: str) -> str:
        """Return the slope of an input that was repeated to the shape of the output."""
        shape, wide = self.shapes[name], self.shapes[output]
        more = len(wide) - len(shape)
        axes = [*range(more), *(more + i for i, n in enumerate(shape) if n != wide[more + i])]
        if axes:
            slope = self.emit("ReduceSum", slope, self.array(axes), keepdims=1)
        return self.like(slope, name) if more else slope


# From the slopes of a node's outputs, None where there are none, to those of its inputs by place.
Rule = Callable[[Tape, Any, list[Any]], dict[int, str]]


def axes_of(tape: Tape, node: Any, ndim: int) -> list[int]:
    """Return the axes that a node names, as an attribute or as an input; all of them if none."""
    axes = attributes(node).get("axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        told = tape.known.get(node.input[1])
        if told is None:
            raise NoGradient(f"{node.op_type} with axes that are not constant")
        axes = told.ravel().tolist()
    return sorted(int(axis) % ndim for axis in (range(ndim) if axes is None else axes))
