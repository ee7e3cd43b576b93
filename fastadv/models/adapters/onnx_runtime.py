"""ONNX graphs in onnxruntime: their passes forward and back, on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastadv.arrays import Floats
from fastadv.errors import InputError, brief
from fastadv.models.adapters.onnx_file import library
from fastadv.models.adapters.onnx_graph import Array, Graph, graph_of, reads
from fastadv.models.adapters.onnx_tape import Shape
from fastadv.models.adapters.onnx_vjp import OPSET, SLOPE, differentiated
from fastadv.protocols import Pullback

_IR = 10  # of the files' own format; later ones add nothing that is used here
_VALUES = 2**22  # that a batch may have in all layers together, to stay near the caches
MOST_ROWS = 128  # the most that are asked for at once
_SAME = 1e-4  # of the largest logit, by which two ways to the same may differ

Given = tuple[str, Any, Sequence[Any] | None]  # an input: name, type, shape


def model_of(
    nodes: Sequence[Any],
    constants: dict[str, Array],
    inputs: Sequence[Given],
    outputs: Sequence[str],
    opsets: dict[str, int],
) -> Any:
    """Return a ``ModelProto`` of some nodes; onnxruntime finds the outputs' types itself."""
    onnx = library("onnx")
    helper = onnx.helper
    used = {name for node in nodes for name in reads(node)} | set(outputs)
    graph = helper.make_graph(
        nodes,
        "fastadv",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
            for name, dtype, shape in inputs
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [
            onnx.numpy_helper.from_array(np.require(value, requirements="C"), name)
            for name, value in constants.items()
            if name in used
        ],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=_IR)


def session_of(model: Any) -> Any:
    """Return a session that has a model in this thread alone, as fastadv's own run side by side.

    It gets the model as bytes: whatever that names, no file is read and no library is loaded.

    Raises
    ------
    InputError
        If onnxruntime cannot run it.
    """
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised as well
    try:
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # of C++, of no common kind
        raise InputError(f"onnxruntime cannot run the model ({_said(error)})") from None


def _said(error: Exception) -> str:
    """Return what onnxruntime says, without the number and the name of its kind."""
    return brief(str(error).rpartition(" : ")[2])


class Forward:
    """What a graph makes of images.

    Parameters
    ----------
    graph : Graph
    shape : tuple of int
        Of an image as the graph takes it.

    Notes
    -----
    A graph that takes a fixed number of images at once gets that many at a time, the last of them
    beside copies of one image.
    """

    def __init__(self, graph: Graph, shape: Shape) -> None:
        self.graph, self.shape = graph, shape
        self.batch = graph.input_shape[0]
        self._session = session_of(
            model_of(graph.nodes, graph.constants, [self.input], [graph.output], graph.opsets)
        )

    @property
    def input(self) -> Given:
        """The name, type and shape of the graph's input."""
        return self.graph.input, self.graph.dtype, [self.batch, *self.shape]

    def __call__(self, images: Floats) -> Floats:
        """Return what the graph makes of images, a row each."""
        return np.concatenate([self._some(part)[:n] for part, n in self.parts(images)])

    def _some(self, images: Array) -> Floats:
        (made,) = self._session.run([self.graph.output], {self.graph.input: images})
        return _rows(made, len(images))

    def parts(self, images: Floats) -> list[tuple[Array, int]]:
        """Return images as the graph takes them, and how many of each part are no copies."""
        given = images.reshape(len(images), *self.shape)
        dtype = self.graph.dtype
        if dtype.kind in "iu":
            most = np.iinfo(dtype)
            given = np.rint(given).clip(most.min, most.max)
        given = np.ascontiguousarray(given, dtype=dtype)
        if self.batch is None:
            return [(given, len(given))]
        made = []
        for start in range(0, len(given), self.batch):
            part = given[start : start + self.batch]
            copies = np.repeat(part[-1:], self.batch - len(part), axis=0)
            made.append((np.concatenate([part, copies]), len(part)))
        return made


def _rows(made: Any, n: int) -> Floats:
    """Return scores of n images, those (n, k, 1, 1) of a network of convolutions as (n, k).

    Raises
    ------
    InputError
        If there is not a row for each image.
    """
    array: Floats = np.asarray(made)
    if array.shape[:1] != (n,):
        raise InputError(
            f"the model returns shape {array.shape} for {n} images; logits have shape "
            f"({n}, number of classes)"
        )
    if array.ndim > 2 and array.size == array.shape[0] * array.shape[1]:
        array = array.reshape(array.shape[:2])
    return array


class Differentiable(Forward):
    """What a graph makes of images, and the pullback, by a second graph.

    Raises
    ------
    NoGradient
        At an operator that is not differentiated.
    """

    def __init__(self, graph: Graph, shape: Shape) -> None:
        super().__init__(graph, shape)
        self.shapes, dtypes = self._looked_at()
        self.passes = passes = differentiated(graph, self.shapes, dtypes)
        outputs = [graph.output, *passes.kept]
        self._taped = session_of(
            model_of(passes.forward, passes.constants, [self.input], outputs, graph.opsets)
        )
        kept = {out.name: _dtype(out.type) for out in self._taped.get_outputs()}
        given: list[Given] = [(name, kept[name], None) for name in passes.kept]
        given.append((SLOPE, dtypes[graph.output], None))
        self._back = session_of(
            model_of(passes.backward, passes.constants, given, [passes.gradient], graph.opsets)
        )

    def _looked_at(self) -> tuple[dict[str, Shape], dict[str, Any]]:
        """Return shapes and types of all values of the graph, by running two images."""
        graph = self.graph
        names = sorted({name for node in graph.nodes for name in node.output if name})
        session = session_of(
            model_of(graph.nodes, graph.constants, [self.input], names, graph.opsets)
        )
        images = np.zeros((self.batch or 2, *self.shape), dtype=graph.dtype)
        try:
            found = dict(zip(names, session.run(names, {graph.input: images}), strict=True))
        except Exception as error:  # of C++, of no common kind
            raise InputError(f"onnxruntime cannot run the model ({_said(error)})") from None
        found[graph.input] = images
        arrays = {name: np.asarray(value) for name, value in found.items()}
        return (
            {name: value.shape for name, value in arrays.items()},
            {name: value.dtype for name, value in arrays.items()},
        )

    @property
    def rows(self) -> int:
        """How many images at once stay near the caches."""
        n = self.batch or 2
        values = sum(int(np.prod(shape)) for shape in self.shapes.values()) // n
        return int(np.clip(_VALUES // max(values, 1), 1, MOST_ROWS))

    def vjp(self, images: Floats) -> tuple[Floats, Pullback]:
        """Return what the graph makes of images and the pullback, which can be called again."""
        value = library("onnxruntime").OrtValue.ortvalue_from_numpy
        graph, passes = self.graph, self.passes
        names = [graph.output, *passes.kept]
        runs = [
            (self._taped.run_with_ort_values(names, {graph.input: value(part)}), n)
            for part, n in self.parts(images)
        ]
        outs = [np.asarray(values[0].numpy()) for values, _ in runs]

        def pullback(slopes: Floats) -> Floats:
            made, start = [], 0
            for (values, n), out in zip(runs, outs, strict=True):
                given = np.zeros((len(out), int(np.prod(out.shape[1:]))), dtype=out.dtype)
                given[:n] = slopes[start : start + n].reshape(n, -1)
                kept = dict(zip(passes.kept, values[1:], strict=True))
                kept[SLOPE] = value(given.reshape(out.shape))
                (back,) = self._back.run_with_ort_values([passes.gradient], kept)
                made.append(back.numpy()[:n])
                start += n
            gradient: Floats = np.concatenate(made).reshape(images.shape)
            return gradient

        made = [_rows(out, len(out))[:n] for out, (_, n) in zip(outs, runs, strict=True)]
        return np.concatenate(made), pullback


def _dtype(said: str) -> np.dtype[Any]:
    """Return the type of which onnxruntime says ``tensor(float)``."""
    name = said.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))


# -- the same graph in another form ----------------------------------------------------------


def opened(forward: Forward) -> Forward:
    """Return a graph of a fixed number of images for any number; as it is if that fails.

    Forms that begin with the number of images take any, and what comes out has to be the same.
    """
    graph, batch = forward.graph, forward.batch
    if batch is None:
        return forward
    nodes, constants = [], dict(graph.constants)
    for node in graph.nodes:
        told = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if told is not None and told.size and told[0] == batch:
            name = f"{node.output[0]}/fastadv/form"
            constants[name] = np.array([0 if -1 in told else -1, *told[1:]], dtype=np.int64)
            changed = type(node)()
            changed.CopyFrom(node)
            changed.input[1] = name
            kept = [one for one in changed.attribute if one.name != "allowzero"]
            del changed.attribute[:]
            changed.attribute.extend(kept)
            node = changed
        nodes.append(node)
    free = replace(
        graph, nodes=nodes, constants=constants, input_shape=(None, *graph.input_shape[1:])
    )
    return _agreeing(forward, free) or forward


def converted(forward: Forward) -> Forward | None:
    """Return a graph in a version of ONNX's operators that `onnx_vjp` writes, or None."""
    graph = forward.graph
    if graph.opset >= OPSET:
        return forward
    model = model_of(graph.nodes, graph.constants, [forward.input], [graph.output], graph.opsets)
    onnx = library("onnx")
    kind = onnx.helper.make_tensor_value_info(graph.output, onnx.TensorProto.FLOAT, None)
    model.graph.output[0].CopyFrom(kind)
    try:
        made = library("onnx.version_converter").convert_version(model, OPSET)
        newer = graph_of(made, "the model")
    except Exception:  # of C++, and ours
        return None
    newer = replace(newer, input_shape=graph.input_shape, classes=graph.classes)
    return _agreeing(forward, newer)


def _agreeing(forward: Forward, graph: Graph) -> Forward | None:
    """Return another form of a graph if it makes the same of a few images, or None."""
    images = np.random.default_rng(0).random((3, *forward.shape)).astype(np.float32)
    try:
        other = Forward(graph, forward.shape)
        a, b = forward(images), other(images)
    except Exception:  # of onnxruntime, which does not take the form
        return None
    same = a.shape == b.shape and np.abs(a - b).max() <= _SAME * (1 + np.abs(a).max())
    return other if same else None
