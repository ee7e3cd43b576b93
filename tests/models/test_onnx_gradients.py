"""Slopes of ONNX graphs against central differences in float64, an operator at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx.reference.op_run import OpRun  # noqa: E402
from onnx_graphs import OPSET, convolutional, model_of, node  # noqa: E402
from scipy.special import erf  # noqa: E402
from scipy.stats import norm  # noqa: E402

from fastadv.models.adapters import onnx_runtime, onnx_vjp  # noqa: E402
from fastadv.models.adapters.onnx_graph import Graph, graph_of  # noqa: E402
from fastadv.models.adapters.onnx_tape import NoGradient  # noqa: E402

IMAGES = (2, 4, 6, 5)
RNG = np.random.default_rng(0)
W = {
    "w": RNG.normal(size=(6, 4, 3, 3)), "g": RNG.normal(size=(4, 2, 3, 2)), "d": RNG.normal(size=(4, 1, 3, 3)),
    "b": RNG.normal(size=6), "c": RNG.normal(size=(1, 4, 1, 1)), "m": RNG.normal(size=(5, 3)), "k": RNG.normal(size=(3, 7)),
    "one": np.array(1.0), "half": np.array(0.5), "two": np.array(2.0), "s": 0.5 + RNG.random(4), "v": 0.5 + RNG.random(4),
    "shape": np.array([0, -1]), "axes": np.array([1, 3]), "all": np.array([2, 3]), "both": np.array([1, 3]), "at": np.array([1]),
    "n": np.array([0]), "from": np.array([1, 0]), "to": np.array([3, 4]), "on": np.array([1, -1]),
    "pads": np.array([0, 0, 1, 0, 0, 1, 2, 0]), "parts": np.array([1, 3]), "f": RNG.normal(size=(120, 3)), "t": RNG.normal(size=(3, 120)),
    "flags": np.array([[[[True]], [[False]], [[True]], [[False]]]]), "left": RNG.normal(size=(6, 6)), "row": RNG.normal(size=5),
    "wide": np.array([2, 4, 6, 5]), "small": RNG.normal(size=(4, 6)), "three": RNG.normal(size=3),
}  # fmt: skip

CASES: dict[str, list[Any]] = {
    "convolution": [node("Conv", "x w b", "z", pads=[1, 1, 1, 1])],
    "without padding": [node("Conv", "x w", "z")],
    "more padding than the kernel": [node("Conv", "x w", "z", pads=[3, 0, 4, 2])],
    "strides": [node("Conv", "x w", "z", strides=[2, 2], pads=[0, 1, 1, 0])],
    "strides that leave a rest": [node("Conv", "x w", "z", strides=[2, 3])],
    "dilations": [node("Conv", "x w", "z", dilations=[2, 1], pads=[2, 1, 1, 0])],
    "groups": [node("Conv", "x g", "z", group=2, pads=[1, 0, 1, 1])],
    "groups and strides": [node("Conv", "x g", "z", group=2, strides=[1, 2])],
    "a channel each": [node("Conv", "x d", "z", group=4)],
    "same above": [node("Conv", "x w", "z", auto_pad="SAME_UPPER", strides=[2, 2])],
    "same below": [node("Conv", "x w", "z", auto_pad="SAME_LOWER", strides=[2, 2])],
    "valid": [node("Conv", "x w", "z", auto_pad="VALID")],
    "max pool": [node("MaxPool", "x", "z", kernel_shape=[2, 2], strides=[2, 2])],
    "max pool that overlaps": [node("MaxPool", "x", "z", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
    "max pool to the brim": [node("MaxPool", "x", "z", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)],
    "average pool": [node("AveragePool", "x", "z", kernel_shape=[2, 2], strides=[2, 2])],
    "average pool with padding": [node("AveragePool", "x", "z", kernel_shape=[3, 3], pads=[1, 1, 1, 0])],
    "average pool that counts it": [node("AveragePool", "x", "z", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
    "global average pool": [node("GlobalAveragePool", "x", "z")],
    "batch normalisation": [node("BatchNormalization", "x s v v s", "z", epsilon=0.01)],
    **{kind: [node(kind, "x", "z")] for kind in ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Erf", "Elu", "Softplus", "HardSwish", "HardSigmoid", "Identity", "Softmax", "LogSoftmax", "LeakyRelu")},
    "softmax of channels": [node("Softmax", "x", "z", axis=1)],
    "log softmax of channels": [node("LogSoftmax", "x", "z", axis=1)],
    "sqrt, log": [node("Abs", "x", "a"), node("Add", "a one", "b1"), node("Sqrt", "b1", "r1"), node("Log", "r1", "d1"), node("Reciprocal", "b1", "e1"), node("Mul", "d1 e1", "z")],
    "leaky": [node("LeakyRelu", "x", "z", alpha=0.2)],
    "prelu": [node("PRelu", "x c", "z")],
    "clip": [node("Clip", "x half one", "z")],
    "clip below": [node("Clip", "x half", "z")],
    "relu 6": [node("Max", "x half", "a"), node("Min", "a two", "z")],
    "sums": [node("Add", "x c", "a"), node("Sub", "row a", "b1"), node("Sub", "b1 one", "d1"), node("Sum", "d1 x c", "z")],
    "products": [node("Mul", "x c", "a"), node("Mul", "a x", "b1"), node("Mul", "b1 b1", "z")],
    "a constant that is wider": [node("Flatten", "x", "a"), node("ReduceMean", "a at", "b1", keepdims=1), node("Mul", "b1 three", "z")],
    "quotients": [node("Div", "x c", "a"), node("Abs", "x", "b1"), node("Add", "b1 one", "d1"), node("Div", "a d1", "e1"), node("Div", "row d1", "f1"), node("Add", "e1 f1", "z")],
    "powers": [node("Abs", "x", "a"), node("Add", "a one", "b1"), node("Pow", "b1 half", "z")],
    "a choice": [node("Tanh", "x", "a"), node("Where", "flags x a", "z")],
    "dense": [node("Flatten", "x", "a"), node("MatMul", "a f", "z")],
    "gemm": [node("Flatten", "x", "a"), node("Gemm", "a t three", "z", transB=1, alpha=0.5, beta=2.0)],
    "gemm of two": [node("Flatten", "x", "a"), node("ReduceMean", "a at", "b1", keepdims=1), node("Gemm", "a t b1", "z", transB=1, alpha=0.5, beta=2.0)],
    "matrices from the right": [node("MatMul", "x m", "a"), node("MatMul", "a k", "z")],
    "a matrix from the left": [node("MatMul", "left x", "z")],
    "two matrices": [node("Transpose", "x", "a", perm=[0, 1, 3, 2]), node("MatMul", "a x", "z")],
    "forms": [node("Transpose", "x", "a", perm=[0, 2, 3, 1]), node("Flatten", "a", "b1"), node("Unsqueeze", "b1 axes", "d1"), node("Squeeze", "d1 axes", "e1"), node("Reshape", "e1 shape", "z")],
    "reversed": [node("Transpose", "x", "z")],
    "concat": [node("Tanh", "x", "a"), node("Concat", "x a c1 x", "z", axis=1)],
    "split": [node("Split", "x parts", "a b1", axis=1), node("Tanh", "a", "d1"), node("Mul", "d1 b1", "z")],
    "half of a split": [node("Split", "x parts", "a z", axis=1)],
    "slice": [node("Slice", "x from to on", "z")],
    "pad": [node("Pad", "x pads", "z")],
    "means": [node("ReduceMean", "x all", "a", keepdims=0), node("ReduceSum", "x axes", "b1", keepdims=1), node("ReduceSum", "x both", "d1", keepdims=0), node("ReduceMean", "b1 both", "e1", keepdims=0), node("MatMul", "d1 left", "f1"), node("MatMul", "a small", "g1"), node("Add", "f1 g1", "h1"), node("Mul", "h1 e1", "z")],
    "expand": [node("ReduceMean", "x axes", "a", keepdims=1), node("Expand", "a wide", "z")],
    "casts": [node("Cast", "x", "a", to=11), node("Dropout", "a", "z")],
    "all of it twice": [node("Relu", "x", "a"), node("Add", "a x", "b1"), node("Add", "b1 a", "z")],
    "a form that hangs on the batch": [node("Shape", "x", "a"), node("Slice", "a n at", "b1"), node("Concat", "b1 minus", "d1", axis=0), node("Reshape", "x d1", "z")],
}  # fmt: skip
W["c1"], W["minus"] = RNG.normal(size=(2, 3, 6, 5)), np.array([-1])
W["low"], W["yes"], W["steps"] = RNG.normal(size=(2, 3)), np.array(True), np.array([1, 2])


class Erf(OpRun):  # type: ignore[misc]
    """In float64, and not in float32 as onnx's own."""

    op_domain = ""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (erf(x),)


def evaluated(model: Any, given: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
    evaluator = ReferenceEvaluator(model, new_ops=[Erf])
    return [np.asarray(value) for value in evaluator.run(outputs, given)]


def graph_of_case(
    nodes: list[Any], dtype: Any = np.float64, batch: Any = 2, opset: int = OPSET
) -> Graph:
    used = {name for one in nodes for name in one.input}
    constants = {
        name: value.astype(dtype) if value.dtype == np.float64 else value
        for name, value in W.items()
        if name in used
    }
    shape = (batch, *IMAGES[1:])
    model = model_of(nodes, constants, shape, output=None, dtype=dtype, opset=opset)
    return graph_of(model, "it")


class InNumPy:
    """Both passes by onnx's own evaluator, which has float64 of every operator."""

    def __init__(self, graph: Graph, x: np.ndarray) -> None:
        self.graph = graph
        names = sorted(name for one in graph.nodes for name in one.output)
        values = self.run(graph.nodes, graph.constants, {graph.input: x}, names)
        found = {graph.input: x, **dict(zip(names, values, strict=True))}
        shapes = {name: value.shape for name, value in found.items()}
        self.passes = onnx_vjp.differentiated(graph, shapes, {k: v.dtype for k, v in found.items()})

    def run(self, nodes: Any, constants: Any, given: Any, outputs: list[str]) -> list[np.ndarray]:
        inputs = [(name, value.dtype, value.shape) for name, value in given.items()]
        model = onnx_runtime.model_of(nodes, constants, inputs, outputs, self.graph.opsets)
        return evaluated(model, given, outputs)

    def logits(self, x: np.ndarray) -> np.ndarray:
        graph = self.graph
        return self.run(graph.nodes, graph.constants, {graph.input: x}, [graph.output])[0]

    def gradient(self, x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        passes, graph = self.passes, self.graph
        outputs = [graph.output, *passes.kept]
        _, *kept = self.run(passes.forward, passes.constants, {graph.input: x}, outputs)
        given = {**dict(zip(passes.kept, kept, strict=True)), onnx_vjp.SLOPE: slopes}
        used = {name for one in passes.backward for name in one.input} | {passes.gradient}
        given = {name: value for name, value in given.items() if name in used}
        return self.run(passes.backward, passes.constants, given, [passes.gradient])[0]


# onnx's own evaluator is wrong, or does not know them
NOT_IN_NUMPY = {"groups and strides", "a channel each", "max pool that overlaps", "pad"}
FOR_ONE_BATCH = {"expand", "concat", "a constant that is wider"}  # they name it


@pytest.mark.parametrize("name", sorted(set(CASES) - NOT_IN_NUMPY))
def test_slopes_are_those_of_central_differences(name: str) -> None:
    graph = graph_of_case(CASES[name])
    x = np.random.default_rng(5).normal(size=IMAGES)
    met = InNumPy(graph, x)
    rng = np.random.default_rng(6)
    slopes, way = rng.normal(size=met.logits(x).shape), rng.normal(size=x.shape)
    step = 1e-6
    change = ((met.logits(x + step * way) - met.logits(x - step * way)) * slopes).sum() / (2 * step)
    gradient = met.gradient(x, slopes)
    assert gradient.shape == x.shape
    assert abs((gradient * way).sum() - change) <= 1e-6 * max(1.0, abs(change))


@pytest.mark.parametrize("name", sorted(set(CASES) - {"casts", "reversed"} - FOR_ONE_BATCH))
def test_onnxruntime_gives_the_same_for_any_batch(name: str) -> None:
    x = np.random.default_rng(5).normal(size=(3, *IMAGES[1:]))
    wide = graph_of_case(CASES[name], batch="n")
    rng = np.random.default_rng(6)
    met = onnx_runtime.Differentiable(graph_of_case(CASES[name], np.float32, "n"), IMAGES[1:])
    logits, pullback = met.vjp(x.astype(np.float32))
    slopes, way = rng.normal(size=logits.shape), rng.normal(size=x.shape)

    def exact(at: np.ndarray) -> np.ndarray:
        model = onnx_runtime.model_of(
            wide.nodes, wide.constants, [(wide.input, at.dtype, at.shape)], [wide.output],
            wide.opsets,
        )  # fmt: skip
        return evaluated(model, {wide.input: at}, [wide.output])[0].reshape(logits.shape)

    change = ((exact(x + 1e-6 * way) - exact(x - 1e-6 * way)) * slopes).sum() / 2e-6
    derivative = (pullback(slopes.astype(np.float32)) * way).sum()
    assert abs(derivative - change) <= 1e-4 * max(1.0, abs(change), float(np.abs(logits).max()))


def test_gelu_has_its_derivative() -> None:
    """x Phi(x), of version 20, in float64; of its form by a tangent no derivative is known."""
    x = 2 * np.random.default_rng(5).normal(size=IMAGES)
    slopes = np.random.default_rng(6).normal(size=IMAGES)
    met = InNumPy(graph_of_case([node("Gelu", "x", "z")], opset=20), x)
    expected = slopes * (norm.cdf(x) + x * norm.pdf(x))
    np.testing.assert_allclose(met.gradient(x, slopes), expected, atol=1e-12)
    with pytest.raises(NoGradient, match="Gelu by a tangent"):
        InNumPy(graph_of_case([node("Gelu", "x", "z", approximate="tanh")], opset=20), x)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_onnxruntime_gives_the_gradient_of_a_convolutional_net(batch: Any) -> None:
    shape = (batch, 1, 5, 4)
    wide = graph_of(convolutional((3, 1, 5, 4), dtype=np.float64), "wide")
    x = np.random.default_rng(1).random((3, 1, 5, 4))
    exact = InNumPy(wide, x)
    met = onnx_runtime.Differentiable(graph_of(convolutional(shape), "net"), shape[1:])
    logits, pullback = met.vjp(x.astype(np.float32))
    np.testing.assert_allclose(logits, exact.logits(x), atol=1e-5)
    np.testing.assert_array_equal(logits, met(x.astype(np.float32)))
    for _ in range(2):  # it can be pulled back again
        slopes = np.random.default_rng(2).normal(size=logits.shape)
        gradient = pullback(slopes.astype(np.float32))
        assert cosine(gradient, exact.gradient(x, slopes)) > 0.999999
    # every pixel by its own difference
    step, numeric = 1e-6, np.zeros(x.shape)
    for pixel in np.ndindex(x.shape[1:]):
        way = np.zeros(x.shape)
        way[:, *pixel] = step
        change = (exact.logits(x + way) - exact.logits(x - way)) * slopes
        numeric[:, *pixel] = change.sum(axis=1) / (2 * step)
    assert cosine(gradient, numeric) > 0.9999


@pytest.mark.parametrize(
    ("nodes", "operator"),
    [
        ([node("Floor", "x", "z")], "Floor"),
        ([node("Cast", "x", "a", to=7), node("Cast", "a", "z", to=11)], "Cast to whole numbers"),
        ([node("Flatten", "x", "a"), node("Gemm", "t a", "z", transB=1)], "Gemm in its input 2"),
        ([node("Flatten", "x", "a"), node("Gemm", "a low", "z", transA=1)], "Gemm in its input 1"),
        ([node("Dropout", "x half yes", "z")], "Dropout in training mode"),
        ([node("Slice", "x from to on steps", "z")], "Slice in steps"),
        ([node("Pad", "x pads", "z", mode="edge")], r"Pad \(edge\)"),
        (
            [
                node("Relu", "x", "a"),
                node("Round", "a", "b1"),
                node("Add", "b1 a", "c1"),
                node("Floor", "c1", "z"),
            ],
            "Floor, Round",
        ),
    ],
)
def test_an_operator_without_a_rule_is_named(nodes: list[Any], operator: str) -> None:
    with pytest.raises(NoGradient, match=operator):
        InNumPy(graph_of_case(nodes), np.zeros(IMAGES))


def test_a_graph_that_is_constant_has_slopes_of_zero() -> None:
    graph = graph_of_case([node("Shape", "x", "a"), node("Cast", "a", "z", to=11)])
    x = np.ones(IMAGES)
    assert not InNumPy(graph, x).gradient(x, np.ones(4)).any()


def test_both_passes_together_compute_nothing_twice() -> None:
    """What the backward pass needs is kept: no node of the forward one is in it."""
    graph = graph_of(convolutional(), "net")
    met = onnx_runtime.Differentiable(graph, (1, 5, 4))
    kinds = [one.op_type for one in met.passes.backward]
    assert kinds.count("Conv") == 2  # one back for each forth
    assert not {"MaxPool", "BatchNormalization", "Relu"} & set(kinds)
    assert [one.op_type for one in met.passes.forward].count("Conv") == 2
