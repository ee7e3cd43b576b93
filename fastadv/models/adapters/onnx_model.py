"""ONNX models: dense networks are taken over, all others run in onnxruntime.

Neither onnx nor onnxruntime is imported before the first model comes; what is taken over needs no
onnxruntime.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastadv.errors import InputError
from fastadv.models.adapters import onnx_runtime as runtime
from fastadv.models.adapters import trust
from fastadv.models.adapters.declared import Declared, Taken
from fastadv.models.adapters.function import DifferentiableFunction, FunctionModel
from fastadv.models.adapters.inputs import Chain, Layout
from fastadv.models.adapters.network import DenseNetwork
from fastadv.models.adapters.onnx_dense import layers_of
from fastadv.models.adapters.onnx_ends import before_probabilities, lowered
from fastadv.models.adapters.onnx_file import checked, is_there
from fastadv.models.adapters.onnx_graph import Array, Graph, graph_of, labels_of
from fastadv.models.adapters.onnx_known import known_beforehand
from fastadv.models.adapters.onnx_tape import NoGradient
from fastadv.models.adapters.onnx_vjp import OPSET
from fastadv.models.adapters.outputs import Outputs
from fastadv.models.adapters.scikit import TAKEN_OVER

_SAME = 1e-3  # of the largest logit, by which what is taken over may differ
_WHY = "an ONNX model comes trained, and has nothing to train it by"


@np.errstate(all="ignore")  # what is no number is told by whoever looks at the model
def take(model: Any, declared: Declared) -> Taken:
    """Return an ``onnx.ModelProto`` as a model that keeps the protocols.

    Raises
    ------
    InputError
        If it is not valid, cannot be run, or needs what is not declared.
    """
    name, kind = declared.name or "the ONNX model", type(model).__name__
    if kind != "ModelProto":
        raise InputError(f"{kind} is no ONNX model; give an onnx.ModelProto, or wrap('FILE.onnx')")
    copied = type(model)()
    copied.CopyFrom(model)
    proto = checked(copied, name)
    whole = known_beforehand(lowered(graph_of(proto, name)))
    graph = before_probabilities(whole)
    layout, shape = _form(graph, declared, name)
    inputs = declared.inputs(layout, flat=len(shape) < 3)
    ends = graph.output != whole.output  # in probabilities, which are left away
    probabilities = declared.outputs.probabilities and not ends
    classes = graph.classes if declared.classes is None else declared.classes
    if declared.take_over and not probabilities and graph.dtype.kind == "f":
        layers, flat = layers_of(graph, shape), declared.inputs(layout, flat=True)
        if layers is not None:
            network = DenseNetwork.of(
                layers.coefs, layers.intercepts, layers.activation, flat, classes
            )
            if _is_the_same(network, graph, shape, inputs):
                _remember_labels(network, proto, shape, inputs, declared)
                parts: tuple[object, ...] = ("onnx", layers.parts(), classes, flat)
                return Taken(network, name, TAKEN_OVER, parts, math.prod(shape), why_not=_WHY)
    made, how = _in_onnxruntime(graph, shape, declared, inputs, classes, ends)
    _remember_labels(made, proto, shape, inputs, declared)
    parts = ("onnx", graph.parts(), classes, inputs)
    return Taken(made, name, how, parts, math.prod(shape), why_not=_WHY)


def _in_onnxruntime(
    graph: Graph,
    shape: tuple[int, ...],
    declared: Declared,
    inputs: Chain,
    classes: Array | None,
    ends: bool,
) -> tuple[FunctionModel, str]:
    """Return the model of a graph, and how attacks meet it.

    ``ends``: it ended in probabilities, which are left away.
    """
    probabilities = declared.outputs.probabilities and not ends
    forward, why = _run(graph, shape)
    made: FunctionModel
    if why is None:
        assert isinstance(forward, runtime.Differentiable)
        outputs = Outputs(probabilities)
        made = DifferentiableFunction(forward, forward.vjp, inputs, outputs, classes)
        how = "onnxruntime, with the gradient of its graph"
        made.batch_rows = forward.rows
    else:
        sure = probabilities or (not ends and _are_probabilities(forward, math.prod(shape)))
        made = FunctionModel(forward, inputs, Outputs(sure), classes)
        how = f"what onnxruntime returns: {why}"
        made.batch_rows = runtime.MOST_ROWS
    made.any_thread, made.computed_by = True, "onnxruntime"
    return made, how


def _remember_labels(
    model: Any, proto: Any, shape: tuple[int, ...], inputs: Chain, declared: Declared
) -> None:
    """Have a model know the labels that its graph chooses, if it does, to be compared with."""
    if declared.classes is not None or not is_there("onnxruntime"):
        return
    labels = labels_of(proto, "")
    if labels is not None:
        forward = runtime.Forward(labels, shape)
        model.original_labels = lambda X: forward(inputs(X))


def _is_the_same(
    network: DenseNetwork, graph: Graph, shape: tuple[int, ...], inputs: Chain
) -> bool:
    """Return whether onnxruntime, if it is there, says the same as what was taken over."""
    if not is_there("onnxruntime"):
        return True
    X = trust.drawn(math.prod(shape))
    raw = runtime.Forward(graph, shape)(inputs(X))
    said, found = Outputs()(raw, len(X))[0], network.logits(X)
    close = _SAME * (1 + float(np.abs(found).max()))
    return said.shape == found.shape and bool(np.abs(said - found).max() <= close)


def _run(graph: Graph, shape: tuple[int, ...]) -> tuple[runtime.Forward, str | None]:
    """Return the graph in onnxruntime, and None, or why there is no gradient."""
    forward = runtime.Forward(graph, shape)
    if graph.dtype.kind != "f":
        return forward, f"it takes whole numbers ({graph.dtype})"
    newer = runtime.converted(forward)
    if newer is None:
        said = f"its operators are of version {graph.opset}, and not to be brought to {OPSET}"
        return forward, said
    forward = runtime.opened(newer)
    try:
        return runtime.Differentiable(forward.graph, shape), None
    except NoGradient as error:
        return forward, f"no derivative of {error} is known here"
    except InputError as error:
        return forward, f"its derivative does not run, {error}"


def _are_probabilities(forward: runtime.Forward, width: int) -> bool:
    """Return whether all that a black box says of a few images are numbers that sum to 1."""
    try:
        said = np.asarray(forward(trust.drawn(width)), dtype=np.float64)
    except Exception:  # it is looked at again, with its inputs prepared, and told
        return False
    return said.ndim == 2 and said.shape[1] > 1 and trust.sum_to_1(said)


# -- the form of its input -------------------------------------------------------------------


def _form(graph: Graph, declared: Declared, name: str) -> tuple[Layout, tuple[int, ...]]:
    """Return the layout of the images that a graph takes, and the shape of one of them.

    What is declared beats; else the shape that the graph declares says it.
    """
    if graph.dtype.kind in "iu" and not declared.scaling:
        raise InputError(
            f"{name} takes whole numbers ({graph.dtype}): wrap it with input_range=(0, 255), "
            "or what else it takes where the data have [0, 1]"
        )
    said, image = graph.input_shape, declared.image_shape
    if len(said) not in (2, 3, 4):
        form = " x ".join("?" if n is None else str(n) for n in said)
        raise InputError(f"{name} takes an array of {form}; images are (n, d) or (n, C, H, W)")
    if len(said) == 2:
        if said[1] is None and image is None:
            raise InputError(f"{name} does not say how large images are: give image_shape=(H, W)")
        return declared.layout or "rows", (said[1] or math.prod(image or ()),)
    if image is None:
        raise InputError(f"{name} takes images: give image_shape=(height, width, channels)")
    if len(said) == 3:
        return declared.layout or "rows", _filled(said[1:], image[:2], image, name)
    if declared.layout == "rows":  # flat numbers, in the form that the graph has
        return "rows", _filled(said[1:], None, image, name)
    layouts: list[Layout] = ["channels_first", "channels_last"]
    if declared.layout is not None:
        layouts = [declared.layout]
    fitting = [one for one in layouts if _fits(said[1:], _arranged(image, one))]
    if not fitting:
        form = " x ".join("?" if n is None else str(n) for n in said[1:])
        raise InputError(f"{name} takes images of {form}; these are {' x '.join(map(str, image))}")
    return fitting[0], _arranged(image, fitting[0])


def _arranged(image: tuple[int, int, int], layout: Layout) -> tuple[int, ...]:
    height, width, channels = image
    forms: dict[str, tuple[int, ...]] = {
        "rows": (height * width * channels,),
        "channels_first": (channels, height, width),
        "channels_last": image,
    }
    return forms[layout]


def _fits(said: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return all(n in (None, m) for n, m in zip(said, shape, strict=True))


def _filled(
    said: tuple[int | None, ...],
    usual: tuple[int, ...] | None,
    image: tuple[int, int, int],
    name: str,
) -> tuple[int, ...]:
    """Return what a graph says of its input, with what it leaves open."""
    shape = said if usual is None else tuple(n or m for n, m in zip(said, usual, strict=True))
    if None in shape or math.prod(n or 1 for n in shape) != math.prod(image):
        form = " x ".join("?" if n is None else str(n) for n in said)
        raise InputError(f"{name} takes images of {form}; these are {' x '.join(map(str, image))}")
    return tuple(n or 1 for n in shape)
