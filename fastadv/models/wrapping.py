"""Any trained model as attacks, defenses and grids take it: `wrap`, and the adapters behind it."""

from __future__ import annotations

import copy
import importlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, checks
from fastadv.errors import InputError, brief
from fastadv.files import in_home
from fastadv.models.adapters import function, trust
from fastadv.models.adapters.declared import Declared, Taken
from fastadv.models.adapters.identity import identity
from fastadv.models.adapters.inputs import Layout, scaling
from fastadv.models.adapters.outputs import Outputs
from fastadv.models.loading import from_file
from fastadv.task import Task

_LOOKED_AT = 6  # images


class Adapter(NamedTuple):
    """A file that takes models of one kind.

    Attributes
    ----------
    takes : callable
        Whether a model is of that kind, asked without importing any library.
    target : str
        ``module:function``, which gets the model and what is declared, and returns a `Taken`.
    """

    takes: Callable[[Any], bool]
    target: str


def _comes_from(*libraries: str) -> Callable[[Any], bool]:
    """Return whether an object's class, or one that it is derived from, is of a library."""
    return lambda model: any(
        cls.__module__.partition(".")[0] in libraries for cls in type(model).__mro__
    )


# The first that takes a model has it; the last takes what none before it has.
ADAPTERS = (
    Adapter(_comes_from("torch"), "fastadv.models.adapters.pytorch:take"),
    Adapter(_comes_from("onnx", "onnxruntime"), "fastadv.models.adapters.onnx_model:take"),
    Adapter(capabilities.has_logits, "fastadv.models.adapters.own:take"),
    Adapter(lambda _: True, "fastadv.models.adapters.scikit:take"),
)


@dataclass(frozen=True)
class Given:
    """What a grid knows of a model that came trained.

    Attributes
    ----------
    name : str
        What rows call it.
    how : str
        How attacks meet it.
    identity : str
        The hash of its weights, its architecture, what is declared and the adapter; for a function
        that of its name.
    kept : bool
        Whether ``identity`` will be the same in another run.
    n_features : int or None
        Numbers an image, if it is known.
    image_shape : tuple of int, or None
        As declared.
    ranged : bool
        It takes another range, which is told of images in [0, 1].
    untrained : estimator or None
        The same untrained, to be cloned.
    why_not : str
        Why it cannot be trained.
    """

    name: str
    how: str
    identity: str
    kept: bool
    n_features: int | None
    image_shape: tuple[int, int, int] | None
    ranged: bool
    untrained: Any
    why_not: str
    probabilities: bool = False


def wrap(
    model: Any = None,
    *,
    logits: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    input_gradient: Callable[..., Any] | None = None,
    name: str | None = None,
    classes: npt.ArrayLike | None = None,
    image_shape: Sequence[int] | None = None,
    layout: Layout | None = None,
    mean: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    input_range: Sequence[float] | None = None,
    probabilities: bool = False,
    images: npt.ArrayLike | None = None,
    take_over: bool = True,
) -> Any:
    """Return a trained model, or a function, as a model that can be attacked and defended.

    Images come as rows in the data's units, and budgets stay in these; what is declared here is
    done to them first, within the gradient: ``x -> (low + (high - low) x - mean) / std``.

    Parameters
    ----------
    model : object
        A classifier of scikit-learn or of its kind, a ``torch.nn.Module``, an ``onnx.ModelProto``,
        the path of a file (``.onnx``, ``.skops``; ``.npz``, ``.safetensors`` of fastadv's own), or
        what has ``logits`` (n, k) or ``vjp`` itself. It is copied: changing it later changes
        nothing here.
    logits : callable, in place of ``model``
        Images (n, d), or as ``layout`` says, to logits (n, k); or (n,) or (n, 1) of two classes,
        above 0 for the second. It is asked each time, not copied.
    vjp : callable, optional
        Images to logits and the pullback d(loss)/d(logits) to d(loss)/d(images).
    input_gradient : callable, optional
        ``input_gradient(images, d(loss)/d(logits))`` in place of ``vjp``. Without either the
        function is a black box.
    name : str, optional
        What tables call it. It is the identity of a function: under one name a grid finds again
        what it has kept; of a function without a name nothing is found again.
    classes : array-like of shape (k,), optional
        The label of each column, where the model does not say; 0 to k - 1 unless given.
    image_shape : (height, width) or (height, width, channels), optional
        Of the data.
    layout : {"rows", "channels_first", "channels_last"}, optional
        In what form the model gets images: (n, d), (n, C, H, W) or (n, H, W, C). Rows, or for a
        convolutional module channels first; what takes rows gets them flat, in that order.
    mean, std : float or array-like, optional
        For all numbers, for each channel, or for each pixel, in the units of ``input_range``.
    input_range : (low, high), optional
        What the model takes where the data have [0, 1].
    probabilities : bool
        It returns probabilities: their logarithms are the logits. Where they saturate, the gradient
        is lost; without that last layer there is more to climb.
    images : array-like of shape (n, d), optional
        A few of the data, by which the model is looked at; drawn at random unless given.
    take_over : bool
        Take dense networks and support vector machines over with their gradient. Without, they go
        the way of any other model of their library.

    Returns
    -------
    model
        With ``classes_``, ``logits``, ``predict`` and, if there is a gradient, ``vjp``; with
        ``network`` too where it is taken over as dense layers. `run_grid` takes it, and so do
        attacks.

    Raises
    ------
    InputError
        If it is not trained or no classifier, something declared does not fit, a gradient from
        outside is not that of the logits, or it answers by chance or by what stands beside an
        image. What of this takes images is left to the grid where nothing tells how large they are.
    """
    if (model is None) == (logits is None):
        raise InputError("give a model, or logits=f with a name")
    if isinstance(model, str | Path):
        model = from_file(in_home(model))
    shape = None if image_shape is None else Task(image_shape, 2).image_shape  # type: ignore[arg-type]
    declared = Declared(
        name, shape, layout, scaling(shape, mean, std, input_range), Outputs(probabilities),
        None if classes is None else _labels(classes), take_over,
    )  # fmt: skip
    if capabilities.given(model) is not None:
        told = [name, classes, image_shape, layout, mean, std, input_range]
        if any(value is not None for value in told) or probabilities or not take_over:
            raise InputError("it is wrapped already; declare everything the first time")
        return model
    if logits is None and (vjp is not None or input_gradient is not None):
        raise InputError("vjp and input_gradient belong to logits=f, and not to a model")
    if logits is not None:
        taken = function.take(logits, vjp, input_gradient, declared)
    else:
        taken = _take(model, declared)
    width = None if shape is None else int(np.prod(shape))
    if None not in (width, taken.n_features) and width != taken.n_features:
        raise InputError(
            f"{taken.name} takes {taken.n_features} numbers an image; image_shape={shape} "
            f"has {width}"
        )
    known = None if taken.parts is None else _hash_of(taken.parts, declared)
    given = Given(
        name=name or taken.name,
        how=taken.how,
        identity=known or uuid.uuid4().hex,
        kept=known is not None,
        n_features=taken.n_features or width,
        image_shape=shape,
        ranged=input_range is not None,
        untrained=taken.untrained,
        why_not=taken.why_not,
        probabilities=probabilities,
    )
    wrapped = taken.model
    wrapped.given = given
    if images is not None:
        look_at(wrapped, np.asarray(images))
    elif given.n_features:
        trust.check(wrapped, trust.drawn(given.n_features), given.name, probabilities)
    return wrapped


def _labels(classes: npt.ArrayLike) -> npt.NDArray[Any]:
    labels = np.asarray(classes)
    if labels.ndim != 1 or len(np.unique(labels)) != len(labels) or len(labels) < 2:
        raise InputError(f"classes has to be two labels or more, each once, got {labels.tolist()}")
    return labels


def _hash_of(parts: tuple[object, ...], declared: Declared) -> str | None:
    """Return the hash of a model and what is declared of it; None if it cannot be read."""
    try:
        return identity(*parts, declared.outputs, declared.classes, declared.take_over)
    except Exception:  # of an object that no copy can be made of, in any library
        return None


def _take(model: Any, declared: Declared) -> Taken:
    target = next(adapter.target for adapter in ADAPTERS if adapter.takes(model))
    module, _, name = target.partition(":")
    take = getattr(importlib.import_module(module), name)
    try:
        taken: Taken = take(model, declared)
    except InputError:
        raise
    except Exception as error:  # of an object that is not what its class makes
        what = f"{type(error).__name__}: {brief(error)}"
        raise InputError(f"{type(model).__name__} cannot be taken ({what})") from None
    return taken


def look_at(model: Any, X: npt.NDArray[Any]) -> None:
    """Look at a wrapped model by images X (n, d) of the data, a few of them closely.

    Raises
    ------
    InputError
        If it cannot be measured, see `fastadv.models.adapters.trust`.
    """
    given: Given = model.given
    if given.n_features is not None:
        checks.rows(X, given.n_features)
    few = np.unique(np.linspace(0, len(X) - 1, _LOOKED_AT).astype(np.intp))
    trust.check(model, X[few], given.name, given.probabilities)
    trust.check_labels(model, X, given.name)


def named(model: Any, classes: npt.NDArray[Any]) -> Any:
    """Return a wrapped model under other labels for its columns; it shares all else."""
    renamed = copy.copy(model)
    renamed.classes_ = classes
    return renamed
