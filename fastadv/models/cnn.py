"""A small convolutional network, trained by PyTorch."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from fastadv import checks
from fastadv.arrays import Arrays, Floats
from fastadv.batches import map_rows
from fastadv.errors import InputError, require
from fastadv.models.adapters.inputs import Arranged, Chain
from fastadv.models.adapters.pytorch import Passes
from fastadv.models.module_descent import ModuleDescent, Optimizer
from fastadv.models.saved import (
    Saved,
    as_text,
    built,
    from_text,
    plain_classes,
    taken,
    taken_classes,
)
from fastadv.specs import check_arguments
from fastadv.task import Task

_KERNEL, _STRIDE, _PADDING = 4, 2, 1  # of each convolution


class ConvNet(
    ClassifierMixin,  # type: ignore[misc]
    ModuleDescent,
    Saved,
    BaseEstimator,  # type: ignore[misc]
):
    """Convolutional network: softmax cross-entropy, SGD with momentum 0.9, by PyTorch.

    Convolutions of 4 x 4 pixels that move by two, each followed by a ReLU, then a dense hidden
    layer: the network of Wong and Kolter (ICML 2018, arXiv 1711.00851, section 5). PyTorch is held
    to one thread, so that the same seed gives the same weights; attacks run in several.

    Parameters
    ----------
    channels : tuple of int, default=(16, 32)
        Of each convolution.
    hidden : int, default=100
        Units of the dense layer.
    epochs : int, default=6
        Passes over the training set.
    lr : float, default=0.1
        The learning rate. It falls to 0 over the last 30 % of the steps.
    batch_size : int, default=100
        The last batch of an epoch may be smaller.
    weight_decay : float, default=0.0
        L2 penalty, as PyTorch's optimizers take it.
    image_shape : tuple of int, optional
        Height, width and channels of an image. A grid sets it by its data.
    random_state : int, RandomState instance or None, default=0
        Of the initial weights (He et al., ICCV 2015, arXiv 1502.01852, section 2.2: from smaller
        ones adversarial training may never begin to learn) and of the order of the images.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    module_ : torch.nn.Sequential
        Trained; it takes images (n, channels, height, width).
    loss_curve_ : list of float
        The mean cross-entropy of each epoch, each batch taken just before its step.
    n_features_in_ : int
    """

    any_thread = True
    optimizer: Optimizer = "sgd"

    def __init__(
        self,
        channels: tuple[int, ...] = (16, 32),
        hidden: int = 100,
        *,
        epochs: int = 6,
        lr: float = 0.1,
        batch_size: int = 100,
        weight_decay: float = 0.0,
        image_shape: tuple[int, int, int] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.channels = channels
        self.hidden = hidden
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.image_shape = image_shape
        self.random_state = random_state

    def supports(self, task: Task) -> str | None:
        """Return None, or why it cannot learn the data."""
        if task.columns is not None:
            return "cnn needs neighbouring pixels, and the data are columns of a table"
        small = [side for side in task.image_shape[:2] if self._sides(side) < 1]
        layers = len(self.channels)
        return f"cnn halves an image {layers} times, and one side is {small[0]}" if small else None

    def check_parameters(self) -> None:
        """Raise InputError, in one line, if a parameter has no sense, or PyTorch is absent."""
        check_arguments(self, ConvNet)
        widths = (*self.channels, self.hidden)
        require(min(widths) >= 1, "channels and hidden have to be positive widths", widths)
        super().check_parameters()

    def _sides(self, side: int) -> int:
        for _ in self.channels:
            side = (side + 2 * _PADDING - _KERNEL) // _STRIDE + 1
        return side

    def _new_module(self, n_features: int, n_classes: int) -> Any:
        height, width, colours = self._shape(n_features)
        nn, layers = self._torch.nn, []
        for before, after in zip((colours, *self.channels), self.channels, strict=False):
            layers += [nn.Conv2d(before, after, _KERNEL, _STRIDE, _PADDING), nn.ReLU()]
        n_in = (colours, *self.channels)[-1] * self._sides(height) * self._sides(width)
        layers += [nn.Flatten(), nn.Linear(n_in, self.hidden), nn.ReLU()]
        module = nn.Sequential(*layers, nn.Linear(self.hidden, n_classes))
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)
        return module

    def _shape(self, n_features: int) -> tuple[int, int, int]:
        if self.image_shape is None:
            raise InputError("cnn takes images: give image_shape=(height, width, channels)")
        task = Task(self.image_shape, 2)
        if task.n_features != n_features:
            raise InputError(
                f"images of {task.image_shape} are rows of {task.n_features}, not {n_features}"
            )
        reason = self.supports(task)
        if reason:
            raise InputError(reason)
        return task.image_shape

    def _inputs(self, module: Any) -> Chain:
        return Chain((Arranged(self._shape(self.n_features_in_), "channels_first"),))

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k), from several threads where there are many rows."""
        X = checks.rows(X, self.n_features_in_)
        some = super().logits
        parts = map_rows(self, lambda start, stop: some(X[start:stop]), len(X), len(X))
        return np.concatenate(parts) if parts else some(X)

    def features(self, X: Floats, *, activated: bool = True) -> Floats:
        """Return what the dense hidden layer makes of X, (n, hidden), activated or not."""
        layers = self.module_[: -1 if activated else -2]
        return Passes(layers)(self._inputs(layers)(checks.rows(X, self.n_features_in_)))

    def state(self) -> Arrays:
        """Return all that the trained model is, the constructor's parameters as JSON among it."""
        numbers = [p.numpy().ravel() for p in self.module_.parameters()]
        return {
            "parameters": as_text(self.get_params()), "classes": plain_classes(self.classes_),
            "n_features": np.array(self.n_features_in_), "weights": np.concatenate(numbers),
            "loss_curve": np.array(self.loss_curve_),
        }  # fmt: skip

    @classmethod
    def from_state(cls, arrays: Arrays) -> Self:
        """Return the model of which `state` gave these arrays.

        Raises
        ------
        InputError
            If they do not fit together, or PyTorch is absent.
        """
        parameters = from_text(taken(arrays, "parameters", "U", 0))
        for name, value in parameters.items():
            parameters[name] = tuple(value) if isinstance(value, list) else value
        model = built(cls, parameters)
        model.check_parameters()
        model.classes_ = taken_classes(arrays)
        model.n_features_in_ = int(taken(arrays, "n_features", "iu", 0))
        model.loss_curve_ = taken(arrays, "loss_curve", "f", 1).tolist()
        weights = taken(arrays, "weights", "f", 1)
        shape = model.n_features_in_, len(model.classes_)
        with model._seeded(np.random.RandomState(0)) as torch:
            with torch.device("meta"):  # without memory: whoever wrote the file chose the widths
                sizes: list[int] = [p.numel() for p in model._new_module(*shape).parameters()]
            if len(weights) != sum(sizes) or weights.dtype != np.float32:
                raise InputError(f"{weights.size} weights, expected {sum(sizes)} of float32")
            model._take(model._new_module(*shape))
            own = list(model.module_.parameters())
            given: list[npt.NDArray[Any]] = np.split(weights, np.cumsum(sizes)[:-1])
            with torch.no_grad():
                for parameter, part in zip(own, given, strict=True):
                    parameter.copy_(torch.tensor(part).reshape(parameter.shape))
        model._freeze()
        return model
