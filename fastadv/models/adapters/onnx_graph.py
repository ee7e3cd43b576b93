"""The part of an ONNX model that makes logits of images, with its constants as arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError, brief
from fastadv.models.adapters.onnx_file import library

Array = npt.NDArray[Any]

CLASSES = "fastadv.classes"  # the key of a model's metadata under which we write them
_FLOATS = ("FLOAT", "DOUBLE", "FLOAT16")
_INTEGERS = ("UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64")
_SCORES = ("logits", "scores", "probabilities", "output_probability")
_PASSING = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze")  # for labels: one for one


@dataclass(frozen=True)
class Graph:
    """Nodes in their order, from one input to one output.

    Attributes
    ----------
    nodes : sequence of NodeProto
        Only those that the output needs.
    constants : dict
        What is known beforehand, by its name.
    input, output : str
    input_shape : tuple of int
        As declared, the batch with it; None where it is open.
    dtype : dtype
        Of the input.
    opsets : dict of str to int
    classes : ndarray of shape (k,) or None
        The label of each column, where the model tells it.
    """

    nodes: Sequence[Any]
    constants: dict[str, Array]
    input: str
    output: str
    input_shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    opsets: dict[str, int]
    classes: Array | None = field(default=None, compare=False)

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return self.opsets.get("", 1)

    def producer(self, name: str) -> Any:
        """Return the node that makes a value; None of the input and of constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def upto(self, output: str, **changes: Any) -> Graph:
        """Return what makes another value of the graph."""
        needed = needed_for(self.nodes, [output])
        used = {name for node in needed for name in reads(node)} | {output}
        constants = {name: value for name, value in self.constants.items() if name in used}
        return replace(self, nodes=needed, constants=constants, output=output, **changes)

    def parts(self) -> tuple[object, ...]:
        """Return what tells it from other graphs, whatever its values are called."""
        numbers: dict[str, int] = {"": 0, self.input: 1}
        nodes: list[object] = []
        used: list[Array] = []
        for node in self.nodes:
            for name in (*reads(node), *node.output):
                if name not in numbers:
                    numbers[name] = len(numbers)
                    used += [self.constants[name]] if name in self.constants else []
            wires = [[numbers[name] for name in names] for names in (node.input, node.output)]
            said = {one.name: one.SerializeToString(deterministic=True) for one in node.attribute}
            nodes.append([node.domain, node.op_type, wires, said])
        return (
            self.input_shape[1:],
            self.dtype.str,
            self.opsets,
            nodes,
            used,
            numbers.get(self.output),
        )


def needed_for(nodes: Sequence[Any], outputs: Sequence[str]) -> list[Any]:
    """Return the nodes that some values need, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(reads(node))
            kept.append(node)
    return kept[::-1]


def reads(node: Any) -> list[str]:
    """Return the names of the values that a node needs; of a graph inside it all that it names."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            names += [name for child in inner.node for name in reads(child)]
            names += [output.name for output in inner.output]
    return names


def hanging_on(graph: Graph) -> set[str]:
    """Return the names of the values that hang on the numbers of the input."""
    found = {graph.input}
    for node in graph.nodes:
        if node.op_type not in ("Shape", "Size") and found.intersection(reads(node)):
            found.update(name for name in node.output if name)
    return found


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by their names: numbers, lists, bytes as text, arrays."""
    onnx = library("onnx")
    found = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            value = array_of(value)
        found[attribute.name] = _text(value) if isinstance(value, bytes) else value
    return found


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def array_of(tensor: Any) -> Array:
    """Return the numbers of a tensor.

    Raises
    ------
    InputError
        If there are not as many as it says.
    """
    try:
        made: Array = library("onnx.numpy_helper").to_array(tensor)
    except Exception as error:  # of NumPy and of onnx
        said = f"the ONNX model's tensor {tensor.name} is damaged ({brief(error)})"
        raise InputError(said) from None
    return made


def graph_of(model: Any, name: str) -> Graph:
    """Return what of a checked model makes the scores of classes.

    Raises
    ------
    InputError
        If it takes other than one array of numbers, or what it returns is not clear.
    """
    whole = _whole(model, name)
    output = _scores(model.graph, whole, name)
    return whole.upto(output, classes=_classes(model, whole))


def labels_of(model: Any, name: str) -> Graph | None:
    """Return what of a checked model chooses a label for an image; None if it chooses none."""
    whole = _whole(model, name)
    for output in model.graph.output:
        if output.type.HasField("tensor_type") and _chooser(whole, output.name)[0] is not None:
            return whole.upto(output.name)
    return None


def _whole(model: Any, name: str) -> Graph:
    """Return all of a model, without an output yet."""
    graph = model.graph
    if graph.sparse_initializer:
        raise InputError(f"{name} has sparse weights, which are not read")
    constants = {tensor.name: array_of(tensor) for tensor in graph.initializer}
    rest = []
    for node in graph.node:
        if node.op_type == "Constant" and node.domain == "":
            constants[node.output[0]] = _constant(node)
        else:
            rest.append(node)
    inputs = [given for given in graph.input if given.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(given.name for given in inputs)
        raise InputError(f"{name} takes {len(inputs)} inputs ({names}); it has to take one, images")
    shape, dtype = _declared(inputs[0], name)
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    return Graph(rest, constants, inputs[0].name, "", shape, dtype, opsets)


def _constant(node: Any) -> Array:
    """Return what a Constant is, whatever attribute says it."""
    value = next(iter(attributes(node).values()), None)
    if value is None or not isinstance(value, np.ndarray | int | float | str | list):
        raise InputError("the ONNX model has a constant that is no tensor")
    if isinstance(value, np.ndarray):
        return value
    kind = np.float32 if np.asarray(value).dtype.kind == "f" else None
    return np.asarray(value, dtype=kind)


def _declared(given: Any, name: str) -> tuple[tuple[int | None, ...], np.dtype[Any]]:
    """Return the shape and the type of an input."""
    onnx = library("onnx")
    kind = given.type.WhichOneof("value")
    tensor = given.type.tensor_type
    said = onnx.TensorProto.DataType.Name(tensor.elem_type) if kind == "tensor_type" else str(kind)
    if said not in (*_FLOATS, *_INTEGERS):
        raise InputError(f"{name} takes {said.lower()}; it has to take an array of numbers, images")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    # 0 is what some exporters write for a number that is open
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim), dtype


# -- what it returns -------------------------------------------------------------------------


def _scores(graph: Any, whole: Graph, name: str) -> str:
    """Return the name of the value that has a score for each class."""
    found = []
    for output in graph.output:
        maker, kind = whole.producer(output.name), output.type.WhichOneof("value")
        if maker is not None and maker.op_type == "ZipMap":
            found.append((output.name, str(maker.input[0])))
        elif kind == "tensor_type" and _is_float(output):
            found.append((output.name, output.name))
    if len(found) > 1:
        found = [pair for pair in found if pair[0] in _SCORES] or found
    if len(found) > 1:
        names = ", ".join(said for said, _ in found)
        raise InputError(f"{name} returns several arrays ({names}); it has to return logits")
    if found:
        return found[0][1]
    behind = [_behind_label(whole, output.name) for output in graph.output]
    known = [score for score in behind if score is not None]
    if not known:
        raise InputError(f"{name} returns no scores of classes; it has to return logits")
    return known[0]


def _is_float(output: Any) -> bool:
    names = library("onnx").TensorProto.DataType.Name
    return names(output.type.tensor_type.elem_type) in _FLOATS


def _behind_label(whole: Graph, label: str) -> str | None:
    """Return the scores that a label is chosen by."""
    node = _chooser(whole, label)[0]
    if node is None:
        return None
    return str(node.input[0] if node.op_type == "ArgMax" else node.output[1])


def _chooser(whole: Graph, label: str) -> tuple[Any, Array | None]:
    """Return the node that chooses a label, and the labels that it chooses among."""
    classes = None
    node = whole.producer(label)
    while node is not None:
        if node.op_type == "ArgMax" or node.op_type.endswith("Classifier"):
            return node, _labels(node) if classes is None else classes
        if node.op_type in ("ArrayFeatureExtractor", "Gather") and len(node.input) == 2:
            classes = whole.constants.get(node.input[0])
            node = whole.producer(node.input[1])
        elif node.op_type in _PASSING:
            node = whole.producer(node.input[0])
        else:
            return None, None
    return None, None


def _classes(model: Any, whole: Graph) -> Array | None:
    """Return the label of each column, by whatever tells it."""
    for prop in model.metadata_props:
        if prop.key == CLASSES:
            try:
                return _one_each(np.asarray(json.loads(prop.value)))
            except ValueError:
                raise InputError(f"the ONNX model's {CLASSES} are no labels") from None
    for node in whole.nodes:
        if node.op_type == "ZipMap":
            return _labels(node)
    for output in model.graph.output:
        classes = _chooser(whole, output.name)[1]
        if classes is not None:
            return _one_each(classes)
    return None


def _labels(node: Any) -> Array | None:
    """Return the labels that an operator of ONNX-ML names."""
    said = attributes(node)
    for key in ("classlabels_int64s", "classlabels_ints", "classlabels_strings"):
        if said.get(key):
            values = [_text(one) if isinstance(one, bytes) else one for one in said[key]]
            return _one_each(np.asarray(values))
    return None


def _one_each(labels: Array) -> Array | None:
    """Return labels as a list, if they can be those of columns."""
    flat = labels.ravel()
    if flat.dtype == object:
        flat = np.array([_text(one) if isinstance(one, bytes) else str(one) for one in flat])
    return flat if len(flat) > 1 and len(np.unique(flat)) == len(flat) else None
