"""Modules of PyTorch: dense networks are taken over, all others go through autograd.

PyTorch is imported when the first module is wrapped, by which it has been imported already.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from fastadv.arrays import Floats
from fastadv.errors import InputError
from fastadv.models.adapters.declared import Declared, Taken
from fastadv.models.adapters.function import DifferentiableFunction
from fastadv.models.adapters.inputs import Chain, Layout
from fastadv.models.adapters.network import DenseNetwork
from fastadv.models.adapters.outputs import Outputs
from fastadv.models.adapters.scikit import TAKEN_OVER
from fastadv.protocols import Pullback
from fastadv.threads import thread_count

_ACTIVATIONS = {"Sigmoid": "logistic", "Tanh": "tanh", "ReLU": "relu"}
_NOTHING = {"Identity", "Dropout", "AlphaDropout"}  # in evaluation mode
_MOST_ROWS, _FEWEST_ROWS, _MOST_NUMBERS = 256, 16, 2**21  # of a batch


def take(module: Any, declared: Declared) -> Taken:
    """Return a module as a model that keeps the protocols, in evaluation mode.

    It is a copy, of which no parameter is trained any more; the module itself is left as it is.

    Raises
    ------
    InputError
        If it is no module, cannot be copied, or needs what is not declared.
    """
    torch = importlib.import_module("torch")
    name = type(module).__name__
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{name} of torch is no module; give a torch.nn.Module, or its functions")
    try:
        frozen = copy.deepcopy(module).eval().requires_grad_(False)
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{name} cannot be copied ({type(error).__name__}: {said})") from None
    why = "a module comes trained, and fastadv does not know how"
    layers, flattened = _layers(frozen), "Flatten" in map(_kind, frozen.modules())
    n_features = _width(layers)
    # Rows of several channels and a Flatten: the module has been trained on channels first.
    many = declared.image_shape is not None and declared.image_shape[2] > 1
    layout: Layout = "channels_first" if convolves(frozen) or (flattened and many) else "rows"
    parts = ("torch", *architecture_of(frozen), _arrays(frozen), declared.inputs(layout))
    if declared.take_over:
        taken = _taken_over(layers, declared.inputs(layout, flat=True), declared)
        if taken is not None:
            return Taken(taken, name, TAKEN_OVER, parts, n_features, why_not=why)
    inputs = declared.inputs(layout)
    passes = Passes(frozen)
    outputs = Outputs(declared.outputs.probabilities or _ends_in_probabilities(layers))
    model = DifferentiableFunction(passes, passes.vjp, inputs, outputs, declared.classes)
    model.any_thread, model.batch_rows = False, batch_rows_for(declared.image_shape)
    model.computed_by = "torch"
    return Taken(model, name, "autograd", parts, n_features, why_not=why)


def batch_rows_for(image_shape: tuple[int, int, int] | None) -> int:
    """Return how many rows PyTorch is best given at once: fewer of large images, for memory."""
    width = 1 if image_shape is None else math.prod(image_shape)
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _MOST_NUMBERS // width))


@contextmanager
def threads_of_torch(torch: Any, n: int) -> Iterator[None]:
    """Have PyTorch use ``n`` threads for what the calling thread asks of it."""
    before = torch.get_num_threads()
    if before == n:
        yield
        return
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Passes:
    """The forward and backward passes of a module in evaluation mode, on arrays.

    They run in the module's own precision, on its own device, and in as many threads as PyTorch is
    set to use, but in no more than fastadv is.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        first = next((p for p in module.parameters() if p.is_floating_point()), None)
        self._dtype = self._torch.float32 if first is None else first.dtype
        self._device = None if first is None else first.device

    @property
    def _torch(self) -> Any:
        return importlib.import_module("torch")  # no attribute: a module of Python cannot be copied

    def __call__(self, images: Floats) -> Floats:
        """Return what the module makes of images, (n, k) or (n,)."""
        with self._torch.inference_mode(), self._threads():
            return self._array(self._module(self._tensor(images)))

    def vjp(self, images: Floats) -> tuple[Floats, Pullback]:
        """Return what the module makes of images, and the pullback; that can be called again."""
        torch = self._torch
        with torch.inference_mode(False), torch.enable_grad(), self._threads():
            x = self._tensor(images).requires_grad_()
            out = self._module(x)

        def pullback(slopes: Floats) -> Floats:
            if not out.requires_grad:  # it does not hang on the images
                return np.zeros_like(images)
            given = torch.as_tensor(np.ascontiguousarray(slopes)).to(out)
            with self._threads():
                (gradient,) = torch.autograd.grad(
                    out, x, given, retain_graph=True, allow_unused=True
                )
            return np.zeros_like(images) if gradient is None else self._array(gradient)

        return self._array(out), pullback

    def _threads(self) -> AbstractContextManager[None]:
        return threads_of_torch(self._torch, min(self._torch.get_num_threads(), thread_count()))

    def _tensor(self, images: Floats) -> Any:
        return self._torch.tensor(images, dtype=self._dtype, device=self._device)

    def _array(self, tensor: Any) -> Floats:
        if not isinstance(tensor, self._torch.Tensor):
            raise InputError(
                f"the module returns {type(tensor).__name__}, not a tensor of logits: give a "
                "function that returns them, fastadv.wrap(logits=f, vjp=g)"
            )
        tensor = tensor.detach().cpu()
        wide = tensor.dtype in (self._torch.float32, self._torch.float64)
        array: Floats = (tensor if wide else tensor.float()).numpy()
        return array


# -- taking over ----------------------------------------------------------------------------


def _kind(module: Any) -> str:
    """Return the name of a module's class, if it is PyTorch's own and nobody hooks into it."""
    cls = type(module)
    hooked = any((module._forward_hooks, module._forward_pre_hooks))
    patched = "forward" in vars(module)
    return "" if hooked or patched or not cls.__module__.startswith("torch.nn.") else cls.__name__


def _layers(module: Any) -> list[Any]:
    """Return what is called in turn: the modules of a Sequential, of those inside it too."""
    if _kind(module) != "Sequential" or not len(module):
        return [module]
    return [layer for child in module for layer in _layers(child)]


def _width(layers: list[Any]) -> int | None:
    """Return how many numbers an image has, if the first layer that does anything is dense."""
    first = next((layer for layer in layers if _kind(layer) not in (*_NOTHING, "Flatten")), None)
    if first is None or _kind(first) != "Linear":
        return None
    return int(first.in_features)


def _taken_over(layers: list[Any], inputs: Chain, declared: Declared) -> DenseNetwork | None:
    """Return a network of dense layers with one kind of activation; None if it is no such."""
    if declared.outputs.probabilities and not _ends_in_probabilities(layers):
        return None
    ends_in_log = _kind(layers[-1]) == "LogSoftmax" and layers[-1].dim in (1, -1)
    if _ends_in_probabilities(layers) or ends_in_log:
        layers = layers[:-1]  # what is left are logits, up to a number for each image
    return _dense(layers, inputs, declared)


def _ends_in_probabilities(layers: list[Any]) -> bool:
    """Return whether it ends in a Softmax, or in a Sigmoid of one output."""
    outputs = [layer.out_features for layer in layers if _kind(layer) == "Linear"][-1:]
    if _kind(layers[-1]) == "Softmax":
        return layers[-1].dim in (1, -1) and outputs != [1]
    return _kind(layers[-1]) == "Sigmoid" and outputs == [1]


def _dense(layers: list[Any], inputs: Chain, declared: Declared) -> DenseNetwork | None:
    coefs: list[Floats] = []
    biases: list[Floats] = []
    activations: set[str] = set()
    open_layer = False  # a Linear without an activation so far
    for layer in layers:
        kind = _kind(layer)
        if kind in _NOTHING or (kind == "Flatten" and not coefs and layer.start_dim == 1):
            continue
        if kind == "Linear":
            W = layer.weight.detach().cpu().double().numpy().T
            b = np.zeros(W.shape[1]) if layer.bias is None else layer.bias.cpu().double().numpy()
            if open_layer:  # two of them are one
                coefs[-1], biases[-1] = coefs[-1] @ W, biases[-1] @ W + b
            else:
                coefs.append(W)
                biases.append(b)
            open_layer = True
        elif kind in _ACTIVATIONS and open_layer:
            activations.add(_ACTIVATIONS[kind])
            open_layer = False
        else:
            return None
    if not open_layer or len(activations) > 1:
        return None
    activation = next(iter(activations), "identity")
    return DenseNetwork.of(coefs, biases, activation, inputs, declared.classes)


def convolves(module: Any) -> bool:
    """Return whether a module has weights of more than two axes, and so takes images."""
    return any(parameter.dim() > 2 for parameter in module.parameters())


# -- identity --------------------------------------------------------------------------------


def architecture_of(module: Any) -> list[str]:
    """Return what a module is but for its numbers, as texts."""
    return [str(module), *_code(module)]


def _arrays(module: Any) -> dict[str, Any]:
    """Return all numbers of a module: parameters, buffers, and those that it has as attributes."""
    numbers = {name: _plain(tensor) for name, tensor in module.state_dict().items()}
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            if isinstance(value, bool | int | float | str | tuple) and key != "training":
                numbers[f"{name}.{key}"] = repr(value)
    return numbers


def _plain(tensor: Any) -> Any:
    wide = tensor.detach().cpu()
    return (wide.float() if wide.dtype.itemsize == 2 else wide).numpy()


def _code(module: Any) -> list[str]:
    """Return the source of the classes that are not PyTorch's own."""
    classes = {type(part) for part in module.modules()}
    foreign = sorted(
        (cls for cls in classes if not cls.__module__.startswith("torch.")),
        key=lambda cls: f"{cls.__module__}.{cls.__qualname__}",
    )
    return [f"{cls.__qualname__} {_source(cls)}" for cls in foreign]


def _source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # made where there is no file
        return repr(cls.forward.__code__.co_code)  # type: ignore[attr-defined]
