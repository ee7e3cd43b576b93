"""ONNX files, read as data: size limits, weights from beside the file alone, nothing that runs."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastadv.errors import InputError, brief
from fastadv.files import open_plain

MOST_BYTES = 2**30  # of a file and the files of its weights, all together
MOST_VALUES = 2**26  # of one tensor, of one image

# What onnxruntime brings by itself; an operator of another domain would be code to load.
_DOMAINS = {"": "ONNX", "ai.onnx": "ONNX", "ai.onnx.ml": "ONNX-ML", "com.microsoft": "onnxruntime"}
_INSTALL = "pip install onnx onnxruntime"


def library(name: str) -> Any:
    """Return a library by its name.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        root = name.partition(".")[0]
        raise InputError(f"ONNX models need {root}, which is not installed: {_INSTALL}") from None


def is_there(name: str) -> bool:
    """Return whether a library is installed, and runs."""
    try:
        return library(name) is not None
    except InputError:
        return False


def read(path: Path) -> Any:
    """Return the ``onnx.ModelProto`` of a file, with the weights that it has in other files.

    Raises
    ------
    InputError
        If it is none, is too large, or names a file that is not beside it.
    """
    onnx = library("onnx")
    try:
        data = _bytes(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # of protobuf, whose errors are of no common kind
        raise InputError(f"{path} is no ONNX file, or is damaged") from None
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{path} is no ONNX file, or is damaged: there is no graph in it")
    left = MOST_BYTES - len(data)
    for tensor in tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            left -= _fill(tensor, path, left)
    return model


def checked(model: Any, name: str) -> Any:
    """Return a model whose functions are parts of the graph, if it is valid and names no files.

    Raises
    ------
    InputError
        If it is not, or has operators that nobody knows.
    """
    onnx = library("onnx")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors(model)):
        raise InputError(f"{name} has weights in other files: give the file, wrap('FILE.onnx')")
    if not all(isinstance(text, str) for text in _names(model)):
        raise InputError(f"{name} is no valid ONNX model: a name in it is no text")
    strange = _unknown(model, onnx)
    if strange:
        raise InputError(f"{name} has the operator {strange}, which is not known here")
    try:
        if model.functions:
            model = library("onnx.inliner").inline_local_functions(model)
        onnx.checker.check_model(model)
    except Exception as error:  # of C++, of no common kind
        raise InputError(f"{name} is no valid ONNX model ({brief(error)})") from None
    _check_sizes(model, name)
    return model


def _check_sizes(model: Any, name: str) -> None:
    """Raise InputError if a value is known to be too large, of one image."""
    try:
        inferred = library("onnx.shape_inference").infer_shapes(model, data_prop=True)
    except Exception as error:  # of C++
        raise InputError(f"{name} is no valid ONNX model ({brief(error)})") from None
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        dims = [max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim]
        if math.prod(dims) > MOST_VALUES:
            raise InputError(
                f"{name} makes more than {MOST_VALUES:,} numbers of one image: {value.name} has "
                f"{' x '.join(map(str, dims))}"
            )


def _names(model: Any) -> Iterator[Any]:
    """Return what the parts of a graph are called: bytes where that is no UTF-8."""
    for graph in _graphs(model):
        yield from (given.name for given in (*graph.input, *graph.output, *graph.initializer))
    for node in nodes(model):
        yield from (node.domain, node.op_type, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def nodes(model: Any) -> Iterator[Any]:
    """Return all nodes of a model: of its graph and functions, and of the graphs inside nodes."""
    for part in (model.graph, *model.functions):
        yield from _inside(part)


def _inside(part: Any) -> Iterator[Any]:
    for node in part.node:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _inside(graph)


def _attributes(model: Any) -> Iterator[Any]:
    """Return all attributes of a model, those that functions have unless a call says others too."""
    for function in model.functions:
        yield from function.attribute_proto
    for node in nodes(model):
        yield from node.attribute


def _graphs(model: Any) -> Iterator[Any]:
    """Return all graphs of a model, those inside nodes too."""
    yield model.graph
    for attribute in _attributes(model):
        yield from (attribute.g, *attribute.graphs)


def tensors(model: Any) -> Iterator[Any]:
    """Return all tensors that a model holds, wherever."""
    sparse = []
    for graph in _graphs(model):
        yield from graph.initializer
        sparse += graph.sparse_initializer
    for attribute in _attributes(model):
        yield from (attribute.t, *attribute.tensors)
        sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
    for one in sparse:
        yield from (one.values, one.indices)


def _unknown(model: Any, onnx: Any) -> str | None:
    """Return the first operator that neither ONNX nor onnxruntime nor the model itself has."""
    own = {(function.domain, function.name) for function in model.functions}
    for node in nodes(model):
        if (node.domain, node.op_type) in own:
            continue
        if node.domain not in _DOMAINS:
            return f"{node.domain}.{node.op_type}"
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain != "com.microsoft" and not onnx.defs.has(node.op_type, domain):
            return f"{node.op_type} of {_DOMAINS[node.domain]}"
    return None


# -- bytes -----------------------------------------------------------------------------------


def _bytes(path: Path, most: int, offset: int = 0, length: int | None = None) -> bytes:
    with open_plain(path) as stream:
        stream.seek(offset)
        data = stream.read(most + 1 if length is None else length)
    if len(data) > most:
        raise InputError(f"{path} is larger than {most / 2**30:.2g} GiB, the most that is read")
    return data


def _fill(tensor: Any, path: Path, left: int) -> int:
    """Put the numbers of a tensor into it, from a file beside ``path``; return how many bytes."""
    said = {str(entry.key): str(entry.value) for entry in tensor.external_data}
    where = said.get("location", "")
    beside = path.parent / where
    # Of a name like ../key, or a link, nothing is opened: what is read could be told by the model.
    inside = where not in ("", ".", "..") and Path(where).name == where and "\\" not in where
    if not inside or beside.is_symlink():
        raise InputError(f"{path} has weights in {where!r}: only files beside it are read")
    numbers = [said.get("offset", "0"), said.get("length", "0")]
    if not all(number.isdecimal() and len(number) < 20 for number in numbers):
        raise InputError(f"{path} says where weights are in {where}, but not by numbers")
    offset, length = map(int, numbers)
    if length > left:
        raise InputError(f"{path} has weights of more than {MOST_BYTES >> 30} GiB, the most read")
    try:
        data = _bytes(beside, left, offset, length if "length" in said else None)
    except OSError as error:
        raise InputError(f"{path} has weights in {where}: {error.strerror or error}") from None
    if "length" in said and len(data) < length:
        raise InputError(f"{path} has weights in {where}, which ends before them")
    tensor.raw_data = data
    tensor.data_location = library("onnx").TensorProto.DEFAULT
    del tensor.external_data[:]
    return len(data)
