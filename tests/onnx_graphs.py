"""ONNX models as exporters write them, in a few lines each; onnx is imported when one is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

Constants = dict[str, np.ndarray]
OPSET = 18


def node(kind: str, inputs: str, outputs: str, **said: Any) -> Any:
    """A node by the names of its inputs and outputs, blanks between them."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **said)


def model_of(
    nodes: list[Any],
    constants: Constants,
    shape: Any = ("n", 20),
    *,
    output: Any = ("n", 3),
    opset: int = OPSET,
    dtype: Any = np.float32,
    out: str = "z",
) -> Any:
    """A model from ``x`` to ``z``."""
    elem = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", elem, shape)],
        [helper.make_tensor_value_info(out, elem if out == "z" else 7, output)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def as_torch_exports(
    coefs: Any, intercepts: Any, activation: str = "Tanh", shape: Any = ("batch", 20)
) -> Any:
    """Dense layers as Flatten and Gemm with weights (n_out, n_in)."""
    nodes, constants, value = [], {}, "x"
    if len(shape) > 2:
        nodes.append(node("Flatten", "x", "flat", axis=1))
        value = "flat"
    for i, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        last = i == len(coefs) - 1
        constants[f"{i}.weight"] = np.ascontiguousarray(np.asarray(W, dtype=np.float32).T)
        constants[f"{i}.bias"] = np.asarray(b, dtype=np.float32)
        out = "z" if last else f"h{i}"
        nodes.append(node("Gemm", f"{value} {i}.weight {i}.bias", out, transB=1))
        if not last:
            nodes.append(node(activation, out, f"a{i}"))
            value = f"a{i}"
    return model_of(nodes, constants, shape, output=(shape[0], np.shape(coefs[-1])[1]))


def convolutional(
    shape: Any = ("n", 1, 5, 4), classes: int = 3, seed: int = 1, dtype: Any = np.float32
) -> Any:
    """Convolution, batch normalisation, relu, a residual sum, max pooling, a dense layer."""
    rng = np.random.default_rng(seed)
    channels, (height, width) = shape[1], shape[2:]
    constants = {
        "c.weight": 0.5 * rng.normal(size=(4, channels, 3, 3)), "c.bias": 0.1 * rng.normal(size=4),
        "b.scale": 1 + rng.random(4), "b.bias": rng.normal(size=4), "b.mean": rng.normal(size=4),
        "b.var": 0.5 + rng.random(4), "d.weight": 0.3 * rng.normal(size=(4, 4, 3, 3)),
        "l.weight": rng.normal(size=(classes, 4 * (height // 2) * (width // 2))),
        "l.bias": rng.normal(size=classes),
    }  # fmt: skip
    nodes = [
        node("Conv", "x c.weight c.bias", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c b.scale b.bias b.mean b.var", "b"),
        node("Relu", "b", "r"),
        node("Conv", "r d.weight", "d", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "d", "e"),
        node("Add", "r e", "s"),
        node("MaxPool", "s", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "p", "f", axis=1),
        node("Gemm", "f l.weight l.bias", "z", transB=1),
    ]
    wide = {name: value.astype(dtype) for name, value in constants.items()}
    return model_of(nodes, wide, shape, output=(shape[0], classes), dtype=dtype)
