"""Models of fastadv's own as ONNX files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities
from fastadv.errors import InputError
from fastadv.files import atomic_write
from fastadv.kernels.network import dense
from fastadv.models.adapters.onnx_file import library
from fastadv.models.adapters.onnx_graph import CLASSES
from fastadv.models.network import Network
from fastadv.models.saved import plain_classes
from fastadv.models.svm import SVC
from fastadv.models.voting import VotingModel
from fastadv.protocols import Layered

_OPSET, _IR = 17, 8  # what any onnxruntime since 1.12 runs
_ACTIVATIONS = {dense.LOGISTIC: "Sigmoid", dense.TANH: "Tanh", dense.RELU: "Relu"}
_FLOAT, _DOUBLE = 1, 11
_IMAGES, _LOGITS = "images", "logits"


def to_onnx(model: Any, path: str | Path) -> None:
    """Write a trained model as an ONNX file: ``images`` (n, d) in, ``logits`` (n, k) out, float32.

    It takes images as the data have them: what was declared of a wrapped model is within. The
    labels of the columns are in its metadata under ``fastadv.classes``, as JSON. `fastadv.wrap` and
    ``--model`` read it: networks of dense layers and linear machines are taken over again, an SVC
    of the RBF kernel has its gradient through onnxruntime, and votes are a black box.

    Parameters
    ----------
    model : MLPClassifier, SVC or voting model
        Or what `fastadv.wrap` has taken over as a network of dense layers.
    path : str or Path
        Of the file.

    Raises
    ------
    InputError
        If it is another model or not trained, onnx is not installed, or the file cannot be written.
    """
    graph = _Graph()
    if not hasattr(model, "classes_"):
        raise InputError(f"{type(model).__name__} is not trained: call its fit first")
    if isinstance(model, SVC):
        _machine(graph, model)
    elif isinstance(model, VotingModel):
        _votes(graph, model)
    elif capabilities.able(model, Layered):
        _layers(graph, model.network())
    else:
        raise InputError(
            f"{type(model).__name__} cannot be written as ONNX; an MLPClassifier, an SVC and votes "
            "can, and dense networks that fastadv.wrap has taken over"
        )
    made = graph.model(np.asarray(model.classes_))
    try:
        with atomic_write(Path(path)) as stream:
            stream.write(made.SerializeToString())
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror or error})") from None


class _Graph:
    """Nodes and constants as they come."""

    def __init__(self) -> None:
        self._onnx = library("onnx")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.width = 0

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        name = f"c{len(self._constants)}"
        array = np.ascontiguousarray(values, dtype=dtype)
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def emit(self, kind: str, *inputs: str, out: str = "", **said: Any) -> str:
        out = out or f"v{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [out], **said))
        return out

    def model(self, classes: npt.NDArray[Any]) -> Any:
        """Return the ``ModelProto``, checked."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes,
            "fastadv",
            [helper.make_tensor_value_info(_IMAGES, _FLOAT, ["n", self.width])],
            [helper.make_tensor_value_info(_LOGITS, _FLOAT, ["n", len(classes)])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        made = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR, producer_name="fastadv"
        )
        labels = json.dumps(plain_classes(classes).tolist())
        helper.set_model_props(made, {CLASSES: labels})
        self._onnx.checker.check_model(made)
        return made


def _layers(graph: _Graph, network: Network) -> None:
    """Write matrices and biases, with activations between them."""
    value, graph.width = _IMAGES, int(network.sizes[0])
    for layer in range(network.n_layers):
        last = layer == network.n_layers - 1
        W = graph.constant(network.matrix(layer), np.float32)
        b = graph.constant(network.bias(layer), np.float32)
        value = graph.emit("Gemm", value, W, b, out=_LOGITS if last else "")
        if not last:
            value = graph.emit(_ACTIVATIONS[network.activation], value)


def _machine(graph: _Graph, model: SVC) -> None:
    """Write (-f, f), in float64 within."""
    graph.width, signs = model.n_features_in_, np.array([-1.0, 1.0])
    x = graph.emit("Cast", _IMAGES, to=_DOUBLE)
    bias = graph.constant(signs * model.intercept_[0], np.float64)
    if model.kernel == "linear":
        W = graph.constant(model.coef_.T * signs, np.float64)
    else:
        x, W = _kernel(graph, x, model), graph.constant(model.dual_coef_.T * signs, np.float64)
    f = graph.emit("Add", graph.emit("MatMul", x, W), bias)
    graph.emit("Cast", f, out=_LOGITS, to=_FLOAT)


def _kernel(graph: _Graph, x: str, model: SVC) -> str:
    """Write exp(-gamma |x - v|^2) for each support vector v, the square as xx - 2 xv + vv."""
    vectors = model.support_vectors_
    products = graph.emit("MatMul", x, graph.constant(-2 * vectors.T, np.float64))
    axis = graph.constant([1], np.int64)
    squares = graph.emit("ReduceSum", graph.emit("Mul", x, x), axis, keepdims=1)
    own = graph.constant(np.square(vectors).sum(axis=1), np.float64)
    distances = graph.emit("Add", graph.emit("Add", products, squares), own)
    return graph.emit(
        "Exp", graph.emit("Mul", distances, graph.constant(-model.gamma_, np.float64))
    )


def _votes(graph: _Graph, model: VotingModel) -> None:
    """Write the share of the votes for each class; the first of equal logits wins."""
    k, m = len(model.classes_), model.n_models
    graph.width = len(model.weights)
    logits = graph.emit("MatMul", _IMAGES, graph.constant(model.weights, np.float32))
    form = graph.constant([-1, k, m], np.int64)
    winners = graph.emit("ArgMax", graph.emit("Reshape", logits, form), axis=1, keepdims=0)
    values = graph.constant([0, 1], np.float32)
    votes = graph.emit("OneHot", winners, graph.constant(k, np.int64), values, axis=1)
    graph.emit("ReduceMean", votes, out=_LOGITS, axes=[2], keepdims=0)
