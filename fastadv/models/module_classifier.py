"""A module of PyTorch as an estimator of scikit-learn's kind, which grids can train."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from fastadv.arrays import Arrays
from fastadv.errors import InputError
from fastadv.models.adapters.inputs import Arranged, Chain, Layout, scaling
from fastadv.models.adapters.pytorch import architecture_of, convolves
from fastadv.models.module_descent import ModuleDescent, Optimizer
from fastadv.models.saved import loaded, plain_classes, taken, taken_classes, written
from fastadv.task import Task

_WEIGHT = "module."  # before the names of a module's arrays in the state


class TorchClassifier(
    ClassifierMixin,  # type: ignore[misc]
    ModuleDescent,
    BaseEstimator,  # type: ignore[misc]
):
    """A module of PyTorch, trained by mini-batch descent on the softmax cross-entropy.

    The same seed gives the same weights, whatever the number of threads: PyTorch is held to one.
    Grids train several in processes side by side where the model has a name (``cnn``).

    Parameters
    ----------
    factory : callable
        Without arguments; returns the module, untrained, that makes logits (n, k) of images. Its
        class is one.
    epochs : int, default=10
        Passes over the training set.
    lr : float, default=0.001
        The learning rate. It falls to 0 over the last 30 % of the steps.
    batch_size : int, default=100
        The last batch of an epoch may be smaller.
    optimizer : {"adam", "sgd"}, default="adam"
        ``sgd`` has a momentum of 0.9.
    weight_decay : float, default=0.0
        L2 penalty, as PyTorch's optimizers take it.
    image_shape : (height, width) or (height, width, channels), optional
        Of the rows of X. A grid sets it by its data.
    layout : {"rows", "channels_first", "channels_last"}, optional
        In what form the module gets images; channels first if it has convolutions, else rows.
    mean, std : float or array-like, optional
        ``x -> (x - mean) / std`` is done to images first, as `fastadv.wrap` does it.
    random_state : int, RandomState instance or None, default=0
        Of the initial weights, the order of the images, and what the module draws in training.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    module_ : torch.nn.Module
        Trained, in evaluation mode, its parameters frozen.
    loss_curve_ : list of float
        The mean loss of each epoch, each batch taken just before its step.
    n_features_in_ : int
    """

    # Attacks call it from one thread: a module of any kind may keep what it computes.
    any_thread = False
    foreign = True  # its gradient is looked at, see `fastadv.capabilities.made_here`

    def __init__(
        self,
        factory: Callable[[], Any],
        *,
        epochs: int = 10,
        lr: float = 1e-3,
        batch_size: int = 100,
        optimizer: Optimizer = "adam",
        weight_decay: float = 0.0,
        image_shape: Sequence[int] | None = None,
        layout: Layout | None = None,
        mean: npt.ArrayLike | None = None,
        std: npt.ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.factory = factory
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.image_shape = image_shape  # type: ignore[assignment]
        self.layout = layout
        self.mean = mean
        self.std = std
        self.random_state = random_state

    def check_parameters(self) -> None:
        """Raise InputError, in one line, if a parameter has no sense, or PyTorch is absent."""
        super().check_parameters()
        if not callable(self.factory):
            raise InputError(
                f"factory has to be a function that returns a module, or its class, got "
                f"{type(self.factory).__name__}"
            )

    def _new_module(self, n_features: int, n_classes: int) -> Any:
        module = self.factory()
        if not isinstance(module, self._torch.nn.Module):
            kind = type(module).__name__
            raise InputError(f"factory has to return a torch.nn.Module, got {kind}")
        return module

    def _inputs(self, module: Any) -> Chain:
        given = None if self.image_shape is None else Task(self.image_shape, 2).image_shape
        steps = scaling(given, self.mean, self.std, None)
        layout = self.layout or ("channels_first" if convolves(module) else "rows")
        if layout == "rows":
            return Chain(steps)
        if given is None:
            raise InputError(
                f"the module takes images ({layout}): give image_shape=(height, width, channels)"
            )
        return Chain((*steps, Arranged(given, layout)))

    # -- as plain arrays --------------------------------------------------------------------------
    # What a module computes is code, which no array holds: the factory stays with the estimator, so
    # these are methods of one, trained or not.

    def state(self) -> Arrays:
        """Return all numbers of the trained module, and the text of its architecture."""
        numbers = self.module_.state_dict()
        return {
            "classes": plain_classes(self.classes_), "loss_curve": np.array(self.loss_curve_),
            "n_features": np.array(self.n_features_in_), "parameters": self._parameters(),
            "architecture": np.array(json.dumps(architecture_of(self.module_))),
            **{_WEIGHT + name: tensor.numpy() for name, tensor in numbers.items()},
        }  # fmt: skip

    def from_state(self, arrays: Arrays) -> Self:
        """Return an estimator with the same factory, trained to what `state` gave.

        Raises
        ------
        InputError
            If the factory makes a module of another architecture, or the arrays are no state.
        """
        made: Self = clone(self)
        made.classes_ = taken_classes(arrays)
        made.n_features_in_ = int(taken(arrays, "n_features", "iu", 0))
        made.loss_curve_ = taken(arrays, "loss_curve", "f", 1).tolist()
        with made._seeded(np.random.RandomState(0)) as torch:
            module = made._new_module(made.n_features_in_, len(made.classes_))
            if json.dumps(architecture_of(module)) != str(arrays["architecture"]):
                raise InputError("the factory makes a module of another architecture")
            given = {k: torch.tensor(a) for k, a in arrays.items() if k.startswith(_WEIGHT)}
            module.load_state_dict({k.removeprefix(_WEIGHT): a for k, a in given.items()})
            made._take(module)
        made._freeze()
        return made

    def save(self, path: str | Path) -> None:
        """Write the state to ``path``, without code."""
        written(self, path)

    def load(self, path: str | Path) -> Self:
        """Return an estimator with the same factory, trained to what `save` has written."""
        made: Self = loaded(self, type(self).__name__, path)
        return made

    def _parameters(self) -> npt.NDArray[np.str_]:
        plain = {name: value for name, value in self.get_params().items() if name != "factory"}
        return np.array(json.dumps(plain, default=lambda value: np.asarray(value).tolist()))
