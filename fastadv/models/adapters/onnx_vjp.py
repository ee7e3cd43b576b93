"""The vector-Jacobian product of an ONNX graph, as a second graph behind it.

The forward graph returns what the backward one needs of it, so that a gradient costs one pass
forward and one back. Reverse-mode differentiation, node by node (Griewank and Walther, Evaluating
Derivatives, 2nd edition, chapter 3). Only operators of version 16 and later are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastadv.models.adapters.onnx_graph import Array, Graph, needed_for, reads
from fastadv.models.adapters.onnx_rules import RULES
from fastadv.models.adapters.onnx_tape import NoGradient, Shape, Tape

SLOPE = "fastadv/slope"  # the input of the backward graph that is d(loss)/d(logits)
OPSET = 16  # the first whose ScatterElements adds


@dataclass(frozen=True)
class Passes:
    """Both graphs.

    Attributes
    ----------
    forward : list of NodeProto
        From the images on; what else it returns than the logits is ``kept``.
    backward : list of NodeProto
        From ``kept`` and `SLOPE` to ``gradient``.
    constants : dict
        Of both.
    """

    forward: list[Any]
    backward: list[Any]
    kept: list[str]
    gradient: str
    constants: dict[str, Array]


def differentiated(graph: Graph, shapes: dict[str, Shape], dtypes: dict[str, Any]) -> Passes:
    """Return the passes of a graph; see `Tape` for the parameters.

    Raises
    ------
    NoGradient
        At an operator between the images and the logits that is not known here.
    """
    tape = Tape(graph, shapes, dtypes)
    slopes: dict[str, list[str]] = {graph.output: [SLOPE]}
    for node in reversed(graph.nodes):
        given = [_sum(tape, slopes.pop(name, [])) for name in node.output]
        places = [i for i, name in enumerate(node.input) if name in tape.active]
        if not any(given) or not places:
            continue
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            raise NoGradient(", ".join(_without(graph, tape)))
        made = rule(tape, node, given)
        for i in places:
            if i in made:
                slopes.setdefault(node.input[i], []).append(made[i])
            elif np.dtype(dtypes[node.input[i]]).kind == "f":
                raise NoGradient(f"{node.op_type} in its input {i + 1}")
    gradient = _sum(tape, slopes.get(graph.input, []))
    if gradient is None:  # the logits do not hang on the images
        gradient = tape.emit("Mul", graph.input, tape.number(0.0, graph.input))
    return _parted(tape, graph, gradient)


def _without(graph: Graph, tape: Tape) -> list[str]:
    """Return the operators without a rule that make numbers of the images."""
    return sorted(
        {
            node.op_type
            for node in graph.nodes
            if tape.active.intersection(node.output)
            and any(np.dtype(tape.dtypes[name]).kind == "f" for name in node.output if name)
            and (node.op_type not in RULES or node.domain not in ("", "ai.onnx"))
        }
    )


def _sum(tape: Tape, slopes: list[str]) -> str | None:
    """Return the sum of the slopes that have come to a value."""
    if not slopes:
        return None
    total = slopes[0]
    for slope in slopes[1:]:
        total = tape.emit("Add", total, slope)
    return total


def _parted(tape: Tape, graph: Graph, gradient: str) -> Passes:
    """Return the passes with what the backward one needs of the other."""
    backward = needed_for(tape.backward, [gradient])
    made = {name for node in backward for name in node.output}
    free = {name for node in backward for name in reads(node)} | {gradient}
    free -= made | {SLOPE}
    known = {**graph.constants, **tape.constants}
    kept = sorted(name for name in free if name not in known)
    forward = needed_for(tape.forward, [graph.output, *kept])
    used = {name for node in (*forward, *backward) for name in reads(node)} | {gradient}
    constants = {name: value for name, value in known.items() if name in used}
    return Passes(forward, backward, kept, gradient, constants)
