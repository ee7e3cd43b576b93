"""Slopes of ONNX's operators, a rule each: those of its outputs to those of its inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastadv.models.adapters import onnx_windows as windows
from fastadv.models.adapters.onnx_graph import attributes
from fastadv.models.adapters.onnx_tape import NoGradient, Rule, Tape, axes_of


def _elementwise(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Slopes times the derivative at each number, which hangs on x or on y = f(x)."""
    x, y = node.input[0], node.output[0]
    said, emit = attributes(node), tape.emit

    def number(value: float) -> str:
        return tape.number(value, x)

    kind = node.op_type
    if kind == "Sigmoid":
        factor = emit("Mul", y, emit("Sub", number(1), y))
    elif kind == "Tanh":
        factor = emit("Sub", number(1), emit("Mul", y, y))
    elif kind == "Exp":
        factor = y
    elif kind == "Log":
        factor = emit("Reciprocal", x)
    elif kind == "Sqrt":
        factor = emit("Div", number(0.5), y)
    elif kind == "Reciprocal":
        factor = emit("Neg", emit("Mul", y, y))
    elif kind == "Abs":
        factor = emit("Sign", x)
    elif kind == "Erf":
        factor = emit("Mul", number(2 / math.sqrt(math.pi)), _gauss(tape, x, 1.0))
    elif kind == "Softplus":
        factor = emit("Sigmoid", x)
    elif kind == "Gelu":
        if said.get("approximate", "none") != "none":
            raise NoGradient("Gelu by a tangent")
        z = emit("Erf", emit("Mul", x, number(math.sqrt(0.5))))
        below = emit("Mul", number(0.5), emit("Add", z, number(1)))
        density = emit("Mul", number(1 / math.sqrt(2 * math.pi)), _gauss(tape, x, 0.5))
        factor = emit("Add", below, emit("Mul", x, density))
    else:
        raise NoGradient(kind)
    return {0: emit("Mul", slopes[0], factor)}


def _gauss(tape: Tape, x: str, by: float) -> str:
    """exp(-by x^2)."""
    return tape.emit("Exp", tape.emit("Mul", tape.number(-by, x), tape.emit("Mul", x, x)))


def _piecewise(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Slopes times one number above 0, and another below."""
    x, y, slope = node.input[0], node.output[0], slopes[0]
    said, emit, zero = attributes(node), tape.emit, tape.number(0.0, x)
    kind = node.op_type
    if kind == "Relu":
        return {0: emit("Where", emit("Greater", y, zero), slope, zero)}
    if kind == "LeakyRelu":
        below = emit("Mul", slope, tape.number(said.get("alpha", 0.01), x))
    elif kind == "PRelu":
        below = emit("Mul", slope, node.input[1])
    elif kind == "Elu":
        below = emit("Mul", slope, emit("Add", y, tape.number(said.get("alpha", 1.0), x)))
    else:
        raise NoGradient(kind)
    return {0: emit("Where", emit("Greater", x, zero), slope, below)}


def _hard(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """HardSigmoid, max(0, min(1, alpha x + beta)); HardSwish, x times that of 1/6 and 1/2."""
    x, said, emit = node.input[0], attributes(node), tape.emit
    swish = node.op_type == "HardSwish"
    alpha, beta = (1 / 6, 0.5) if swish else (said.get("alpha", 0.2), said.get("beta", 0.5))
    line = emit("Add", emit("Mul", x, tape.number(alpha, x)), tape.number(beta, x))
    zero, one = tape.number(0.0, x), tape.number(1.0, x)
    inside = emit("And", emit("Greater", line, zero), emit("Less", line, one))
    factor = emit("Where", inside, tape.number(alpha, x), zero)
    if swish:
        clipped = emit("Clip", line, zero, one)
        factor = emit("Add", clipped, emit("Mul", x, factor))
    return {0: emit("Mul", slopes[0], factor)}


def _same(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    return {0: slopes[0]}


def _dropout(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    training = tape.known.get(node.input[2], 1) if len(node.input) > 2 and node.input[2] else 0
    if np.any(training):
        raise NoGradient("Dropout in training mode")
    return {0: slopes[0]}


def _cast(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    from_, to = tape.dtypes[node.input[0]], tape.dtypes[node.output[0]]
    if np.dtype(from_).kind != "f" or np.dtype(to).kind != "f":
        raise NoGradient("Cast to whole numbers")
    kinds = {"float16": 10, "float32": 1, "float64": 11}
    return {0: tape.emit("Cast", slopes[0], to=kinds[np.dtype(from_).name])}


def _form(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    return {0: tape.like(slopes[0], node.input[0])}


def _transpose(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    ndim = len(tape.shapes[node.input[0]])
    axes = attributes(node).get("perm") or list(range(ndim))[::-1]
    return {0: tape.emit("Transpose", slopes[0], perm=[int(i) for i in np.argsort(axes)])}


# -- arithmetic ------------------------------------------------------------------------------


def _arithmetic(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Add, Sub, Mul, Div, Sum, Max, Min, Where, of values and constants of any shapes."""
    slope, out, kind, emit = slopes[0], node.output[0], node.op_type, tape.emit
    made: dict[int, str] = {}
    for i, name in enumerate(node.input):
        if name not in tape.active or np.dtype(tape.dtypes[name]).kind != "f":
            continue
        own = slope
        if kind == "Sub" and i == 1:
            own = emit("Neg", slope)
        elif kind == "Mul":
            own = emit("Mul", slope, node.input[1 - i])
        elif kind == "Div":
            own = emit("Div", slope, node.input[1])
            own = own if i == 0 else emit("Neg", emit("Mul", own, out))
        elif kind in ("Max", "Min"):
            own = emit("Where", emit("Equal", name, out), slope, tape.number(0.0, name))
        elif kind == "Where":
            both = (slope, tape.number(0.0, name))
            own = emit("Where", node.input[0], *(both if i == 1 else both[::-1]))
        made[i] = tape.summed(own, out, name)
    return made


def _clip(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    x = node.input[0]
    inside = tape.emit("Equal", x, node.output[0])
    return {0: tape.emit("Where", inside, slopes[0], tape.number(0.0, x))}


def _power(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Return the derivative n x^(n - 1), of a constant n."""
    x, exponent = node.input[0], tape.known.get(node.input[1])
    if exponent is None or exponent.size != 1:
        raise NoGradient("Pow by what is not one constant")
    n = float(exponent.ravel()[0])
    below = tape.emit("Pow", x, tape.number(n - 1, x))
    return {0: tape.emit("Mul", slopes[0], tape.emit("Mul", below, tape.number(n, x)))}


def _softmax(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    y, emit = node.output[0], tape.emit
    axis = tape.array([attributes(node).get("axis", -1)])
    if node.op_type == "LogSoftmax":
        total = emit("ReduceSum", slopes[0], axis, keepdims=1)
        return {0: emit("Sub", slopes[0], emit("Mul", emit("Exp", y), total))}
    total = emit("ReduceSum", emit("Mul", slopes[0], y), axis, keepdims=1)
    return {0: emit("Mul", y, emit("Sub", slopes[0], total))}


def _matmul(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    (a, b), out = node.input, node.output[0]
    made = {}
    for i, name, other in ((0, a, b), (1, b, a)):
        if name not in tape.active:
            continue
        shape = tape.size_of(other)
        if min(len(shape), len(tape.shapes[name])) < 2:
            raise NoGradient("MatMul with a vector")
        turned = tape.emit("Transpose", other, perm=_swapped(len(shape)))
        slope = tape.emit("MatMul", *((slopes[0], turned) if i == 0 else (turned, slopes[0])))
        wide = (*tape.shapes[out][:-2], *tape.shapes[name][-2:])
        tape.shapes[slope] = wide
        made[i] = tape.summed(slope, slope, name)
    return made


def _swapped(ndim: int) -> list[int]:
    return [*range(ndim - 2), ndim - 1, ndim - 2]


def _gemm(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Return the slope of A and of C in alpha A B + beta C; B has to be constant."""
    said, emit = attributes(node), tape.emit
    a, b, *c = node.input
    made = {}
    if a in tape.active and b not in tape.active and not said.get("transA"):
        other = 0 if said.get("transB") else 1
        made[0] = emit("Gemm", slopes[0], b, alpha=said.get("alpha", 1.0), transB=other)
    if c and c[0] in tape.active:
        scaled = emit("Mul", slopes[0], tape.number(said.get("beta", 1.0), c[0]))
        made[2] = tape.summed(scaled, node.output[0], c[0])
    return made


# -- parts and sums --------------------------------------------------------------------------


def _concat(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    axis = attributes(node)["axis"] % len(tape.shapes[node.output[0]])
    made, start = {}, 0
    for i, name in enumerate(node.input):
        size = tape.size_of(name)[axis]
        if name in tape.active:
            bounds = (tape.array([n]) for n in (start, start + size, axis))
            made[i] = tape.emit("Slice", slopes[0], *bounds)
        start += size
    return made


def _split(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    parts = [
        slope or tape.emit("Expand", tape.number(0.0, node.input[0]), tape.shape_of(name))
        for name, slope in zip(node.output, slopes, strict=True)
    ]
    return {0: tape.emit("Concat", *parts, axis=attributes(node).get("axis", 0))}


def _slice(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Zeros around the part, of steps of 1."""
    shape = tape.shapes[node.input[0]]
    told = [tape.known.get(name) for name in node.input[1:]]
    if any(array is None for array in told) or (len(told) > 3 and np.any(told[3] != 1)):
        raise NoGradient("Slice in steps")
    starts, ends, *more = (array.ravel().tolist() for array in told if array is not None)
    axes = [axis % len(shape) for axis in (more[0] if more else range(len(starts)))]
    before, behind = [0] * len(shape), [0] * len(shape)
    for axis, start, end in zip(axes, starts, ends, strict=True):
        first, last, _ = slice(start, end).indices(shape[axis])
        before[axis], behind[axis] = first, shape[axis] - last
    return {0: tape.emit("Pad", slopes[0], tape.array([*before, *behind]))}


def _pad(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    pads = tape.known.get(node.input[1]) if len(node.input) > 1 else None
    mode, ndim = attributes(node).get("mode", "constant"), len(tape.shapes[node.input[0]])
    axes = len(node.input) > 3 and node.input[3]
    if pads is None or mode != "constant" or axes or len(pads) != 2 * ndim:
        raise NoGradient(f"Pad ({mode})")
    return {0: tape.emit("Pad", slopes[0], tape.array(-pads))}


def _reduced(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Return the slope of a sum or a mean to each of its terms."""
    x, said = node.input[0], attributes(node)
    shape = tape.shapes[x]
    if said.get("noop_with_empty_axes") and not (said.get("axes") or node.input[1:]):
        return {0: slopes[0]}
    axes = axes_of(tape, node, len(shape))
    slope = slopes[0]
    if not said.get("keepdims", 1):
        slope = tape.emit("Unsqueeze", slope, tape.array(axes))
    if node.op_type == "ReduceMean":
        size = float(np.prod([shape[axis] for axis in axes]))
        slope = tape.emit("Div", slope, tape.number(size, x))
    return {0: tape.emit("Expand", slope, tape.shape_of(x))}


def _expand(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    return {0: tape.summed(slopes[0], node.output[0], node.input[0])}


def _negative(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    return {0: tape.emit("Neg", slopes[0])}


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Erf", "Softplus", "Gelu"),
        _elementwise,
    ),
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Elu"), _piecewise),
    **dict.fromkeys(("HardSigmoid", "HardSwish"), _hard),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Where"), _arithmetic),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _form),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("ReduceMean", "ReduceSum"), _reduced),
    "Identity": _same, "Dropout": _dropout, "Cast": _cast, "Transpose": _transpose,
    "Clip": _clip, "Pow": _power, "Neg": _negative, "MatMul": _matmul, "Gemm": _gemm,
    "Concat": _concat, "Split": _split, "Slice": _slice, "Pad": _pad, "Expand": _expand,
    "Conv": windows.convolution, "MaxPool": windows.max_pool,
    "AveragePool": windows.average_pool, "GlobalAveragePool": windows.global_average_pool,
    "BatchNormalization": windows.batch_normalisation,
}  # fmt: skip
