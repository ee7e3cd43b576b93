"""Slopes of convolutions and pools in ONNX graphs, in any number of dimensions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastadv.models.adapters.onnx_graph import Array, attributes
from fastadv.models.adapters.onnx_tape import NoGradient, Tape


class Window(NamedTuple):
    """Where windows lie, a number for each dimension of an image."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]  # numbers of padding
    sizes: list[int]  # of what they lie in
    counts: list[int]  # of windows

    def slack(self) -> list[int]:
        """Return the padding behind that the last window reaches into; below 0: what it leaves."""
        reach = [
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(
                self.counts, self.strides, self.dilations, self.kernel, strict=True
            )
        ]
        return [r - b - n for r, b, n in zip(reach, self.before, self.sizes, strict=True)]


def window_of(tape: Tape, node: Any, kernel: list[int] | None = None) -> Window:
    """Return where the windows of a convolution or of a pool lie."""
    said = attributes(node)
    sizes = list(tape.shapes[node.input[0]][2:])
    counts = list(tape.shapes[node.output[0]][2:])
    ndim = len(sizes)
    kernel = list(said["kernel_shape"]) if kernel is None else kernel
    strides, dilations = (list(said.get(key) or [1] * ndim) for key in ("strides", "dilations"))
    pads = list(said.get("pads") or [0] * 2 * ndim)[:ndim]
    found = Window(kernel, strides, dilations, pads, sizes, counts)
    auto = said.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [max(n, 0) for n in found._replace(before=[0] * ndim).slack()]
        pads = [(n + (auto == "SAME_LOWER")) // 2 for n in total]
    elif auto == "VALID":
        pads = [0] * ndim
    return found._replace(before=pads)


def convolution(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Return the transposed convolution, which with strides of 1 is one with turned weights."""
    W = node.input[1]
    if W in tape.active:
        raise NoGradient("Conv with weights that hang on the image")
    values, group = tape.known.get(W), attributes(node).get("group", 1)
    if values is None:
        raise NoGradient("Conv with weights that are not constant")
    window = window_of(tape, node, list(values.shape[2:]))
    reach = [d * (k - 1) for d, k in zip(window.dilations, window.kernel, strict=True)]
    before = [r - b for r, b in zip(reach, window.before, strict=True)]
    behind = [r - s for r, s in zip(reach, window.slack(), strict=True)]
    if all(n == 1 for n in window.strides) and min(*before, *behind) >= 0:
        return {
            0: tape.emit(
                "Conv", slopes[0], tape.array(_turned(values, group), values.dtype),
                group=group, dilations=window.dilations, pads=[*before, *behind],
            )
        }  # fmt: skip
    return {0: _spread(tape, slopes[0], W, window, group)}


def _turned(W: Array, group: int) -> Array:
    """Return weights (M, C / group, ...) with their images turned, as (C, M / group, ...)."""
    m, c, *kernel = W.shape
    apart = W.reshape(group, m // group, c, *kernel).swapaxes(1, 2)
    turned = apart.reshape(group * c, m // group, *kernel)
    return np.flip(turned, axis=tuple(range(2, W.ndim))).copy()


def _spread(tape: Tape, slope: str, W: str, window: Window, group: int) -> str:
    """Return the transposed convolution of slopes, in the size that the images had."""
    slack = window.slack()
    return tape.emit(
        "ConvTranspose", slope, W, group=group, strides=window.strides,
        dilations=window.dilations, pads=[*window.before, *(max(n, 0) for n in slack)],
        output_padding=[max(-n, 0) for n in slack],
    )  # fmt: skip


def max_pool(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Give each slope to the place that was the largest of its window, the first of equal ones."""
    if attributes(node).get("storage_order", 0):
        raise NoGradient("MaxPool in the order of columns")
    if len(node.output) > 1 and node.output[1]:
        places = node.output[1]
    else:
        places = f"{node.output[0]}/fastadv/places"
        pool = type(node)()
        pool.CopyFrom(node)
        del pool.output[:]
        pool.output.extend([node.output[0], places])
        tape.forward[tape.forward.index(node)] = pool
    one = tape.array([-1])
    flat, at = (tape.emit("Reshape", name, one) for name in (slopes[0], places))
    shape = tape.shape_of(node.input[0])
    size = tape.emit("ReduceProd", shape, keepdims=1)
    zeros = tape.emit("Expand", tape.number(0.0, node.input[0]), size)
    spread = tape.emit("ScatterElements", zeros, at, flat, axis=0, reduction="add")
    return {0: tape.emit("Reshape", spread, shape)}


def average_pool(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Give each slope in equal parts to its window."""
    x, channels = node.input[0], tape.shapes[node.input[0]][1]
    window, said = window_of(tape, node), attributes(node)
    counts = np.ones((1, 1))
    after = list(said.get("pads") or [0] * 2 * len(window.sizes))[len(window.sizes) :]
    for i, size in enumerate(window.sizes):
        first = np.arange(window.counts[i]) * window.strides[i] - window.before[i]
        at = first[:, np.newaxis] + np.arange(window.kernel[i]) * window.dilations[i]
        low, high = 0, size
        if said.get("count_include_pad", 0):
            low, high = -window.before[i], size + max(after[i], 0)
        number = ((at >= low) & (at < high)).sum(axis=1)
        counts = counts[..., np.newaxis] * number
    dtype = tape.dtypes[x]
    ones = tape.array(np.ones((channels, 1, *window.kernel)), dtype)
    part = tape.emit("Div", slopes[0], tape.array(counts, dtype))
    return {0: _spread(tape, part, ones, window, channels)}


def global_average_pool(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Give each slope in equal parts to all of its channel."""
    x = node.input[0]
    size = float(np.prod(tape.shapes[x][2:]))
    part = tape.emit("Div", slopes[0], tape.number(size, x))
    return {0: tape.emit("Expand", part, tape.shape_of(x))}


def batch_normalisation(tape: Tape, node: Any, slopes: list[Any]) -> dict[int, str]:
    """Return slopes times scale / sqrt(var + epsilon), a number for each channel."""
    said = attributes(node)
    scale, variance = (tape.known.get(node.input[i]) for i in (1, 4))
    if said.get("training_mode") or scale is None or variance is None:
        raise NoGradient("BatchNormalization in training mode")
    x = node.input[0]
    factor = scale.astype(np.float64) / np.sqrt(variance + float(said.get("epsilon", 1e-5)))
    form = (-1, *[1] * (len(tape.shapes[x]) - 2))
    return {0: tape.emit("Mul", slopes[0], tape.array(factor.reshape(form), tape.dtypes[x]))}
