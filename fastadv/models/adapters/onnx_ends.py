"""The logits of ONNX graphs that return probabilities, and ONNX-ML's operators as ONNX's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastadv.models.adapters.onnx_file import library
from fastadv.models.adapters.onnx_graph import Array, Graph, attributes
from fastadv.models.adapters.takeover import USUAL_LOGIT

_MARGINS = "fastadv margins"  # the name of a node that makes values of about 1 or -1
_FLOATS = (1, 10, 11)  # float32, float16, float64


def lowered(graph: Graph) -> Graph:
    """Return the graph with ONNX-ML's Scaler and LinearClassifier as sums and products."""
    nodes: list[Any] = []
    constants = dict(graph.constants)
    for node in graph.nodes:
        rule = _LOWERED.get(node.op_type) if node.domain == "ai.onnx.ml" else None
        made = None if rule is None else rule(node)
        if made is None:
            nodes.append(node)
        else:
            nodes += made[0]
            constants.update(made[1])
    opsets = graph.opsets if "" in graph.opsets else {**graph.opsets, "": 18}
    return replace(graph, nodes=nodes, constants=constants, opsets=opsets)


def _scaler(node: Any) -> tuple[list[Any], dict[str, Array]]:
    """Return (x - offset) * scale, in float32."""
    make, out = library("onnx").helper.make_node, node.output[0]
    x, offset, scale, centred = (f"{out}.{part}" for part in ("x", "offset", "scale", "centred"))
    nodes = [
        make("Cast", [node.input[0]], [x], to=1),
        make("Sub", [x, offset], [centred]),
        make("Mul", [centred, scale], [out]),
    ]
    said = attributes(node)
    return nodes, {
        offset: np.asarray(said["offset"], dtype=np.float32),
        scale: np.asarray(said["scale"], dtype=np.float32),
    }


def _linear_classifier(node: Any) -> tuple[list[Any], dict[str, Array]] | None:
    """Return x W + b, and what is made of it; of two classes that are opposite, of one column."""
    make, out = library("onnx").helper.make_node, node.output[1]
    said = attributes(node)
    labels = said.get("classlabels_ints") or said.get("classlabels_strings") or []
    after = said.get("post_transform", "NONE")
    numbers = np.asarray(said["coefficients"], dtype=np.float32)
    if after not in ("NONE", "SOFTMAX", "LOGISTIC") or not labels or numbers.size % len(labels):
        return None
    W = numbers.reshape(len(labels), -1).T
    b = np.asarray(said.get("intercepts") or np.zeros(len(labels)), dtype=np.float32)
    x, matrix, bias, product, z = (f"{out}.{part}" for part in ("x", "W", "b", "xW", "z"))
    two = len(labels) == 2 and np.allclose(W[:, 0], -W[:, 1]) and np.allclose(b[0], -b[-1])
    if after == "LOGISTIC" and two:
        W, b = W[:, 1:], b[1:]
    linear = [make("Cast", [node.input[0]], [x], to=1), make("MatMul", [x, matrix], [product])]
    constants: dict[str, Array] = {matrix: W, bias: b}
    if after == "NONE":
        margins = "" if two else _MARGINS
        return [*linear, make("Add", [product, bias], [out], name=margins)], constants
    linear.append(make("Add", [product, bias], [z]))
    if after == "SOFTMAX":
        return [*linear, make("Softmax", [z], [out], axis=1)], constants
    if not two:
        return [*linear, make("Sigmoid", [z], [out])], constants
    p, one, other = (f"{out}.{part}" for part in ("p", "one", "other"))
    constants[one] = np.ones(1, dtype=np.float32)
    ends = [make("Sigmoid", [z], [p]), make("Sub", [one, p], [other])]
    return [*linear, *ends, make("Concat", [other, p], [out], axis=1)], constants


_LOWERED = {"Scaler": _scaler, "LinearClassifier": _linear_classifier}


# -- logits ----------------------------------------------------------------------------------


def before_probabilities(graph: Graph) -> Graph:
    """Return the graph up to its logits, if it ends in what makes probabilities of them.

    These are a Softmax over the classes, or its logarithm; or a Sigmoid, also beside its
    complement, whose logits then are one column. Margins are scaled, see
    `fastadv.models.adapters.takeover`.
    """
    node = graph.producer(graph.output)
    while node is not None:
        said = attributes(node)
        if node.op_type == "Identity" or (node.op_type == "Cast" and said.get("to") in _FLOATS):
            node = graph.producer(node.input[0])
        elif node.op_type == "Normalizer" and said.get("norm") == "L1":
            inner = graph.upto(node.input[0])
            below = before_probabilities(inner)
            return graph if below.output == inner.output else below
        elif node.op_type in ("Softmax", "LogSoftmax"):
            classes = said.get("axis", 1 if graph.opset < 13 else -1) in (1, -1)
            return graph.upto(node.input[0]) if classes else graph
        elif node.op_type == "Sigmoid":
            return graph.upto(node.input[0])
        elif node.op_type == "Concat":
            return _one_of_two(graph, node)
        elif node.op_type == "ArrayFeatureExtractor":
            return _both_of_two(graph, node)
        else:
            return _scaled(graph, node) if node.name == _MARGINS else graph
    return graph


def _one_of_two(graph: Graph, node: Any) -> Graph:
    """Return the graph up to z, if it ends in (1 - p, p) with p the logistic function of z."""
    if len(node.input) != 2:
        return graph
    other, p = graph.producer(node.input[0]), graph.producer(node.input[1])
    if other is None or p is None or other.op_type != "Sub" or p.op_type != "Sigmoid":
        return graph
    one = graph.constants.get(other.input[0])
    complement = one is not None and np.all(one == 1) and other.input[1] == node.input[1]
    return graph.upto(p.input[0]) if complement else graph


def _both_of_two(graph: Graph, node: Any) -> Graph:
    """Return the graph up to the margins (-f, f), if it ends in the second of them."""
    margins, which = graph.producer(node.input[0]), graph.constants.get(node.input[1])
    if (
        margins is None
        or margins.op_type != "Add"
        or which is None
        or which.ravel().tolist() != [1]
    ):
        return graph
    bias = graph.constants.get(margins.input[1])
    return graph.upto(node.input[0]) if bias is not None and bias.size == 2 else graph


def _scaled(graph: Graph, node: Any) -> Graph:
    """Return the graph with its margins times what makes them as large as usual logits."""
    make, out, by = library("onnx").helper.make_node, f"{graph.output}.scaled", "fastadv.scale"
    return replace(
        graph,
        nodes=[*graph.upto(node.output[0]).nodes, make("Mul", [node.output[0], by], [out])],
        constants={**graph.constants, by: np.full(1, USUAL_LOGIT, dtype=np.float32)},
        output=out,
    )
