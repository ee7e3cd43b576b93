"""The training of a module of PyTorch: mini-batch descent, epoch after epoch, the same each time.

PyTorch is imported when the first module is trained or read, and held to one thread: the gradient
of weights is a sum over images, which several threads would round otherwise.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fastadv import checks
from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.errors import DivergenceError, InputError, at_least, brief, require
from fastadv.models.adapters.function import DifferentiableFunction
from fastadv.models.adapters.inputs import Chain
from fastadv.models.adapters.outputs import Outputs
from fastadv.models.adapters.pytorch import Passes, batch_rows_for, threads_of_torch
from fastadv.models.base import DifferentiableModel, numbered, probabilities
from fastadv.models.schedule import step_rates
from fastadv.protocols import BatchGradient, Perturb, Pullback
from fastadv.task import Task

Optimizer = Literal["sgd", "adam"]
_MOMENTUM = 0.9
_FEW = 16  # images that a module is looked at by
_SAME = 1e-4  # of a sum of probabilities

# (rows of a batch, their numbers, their columns) -> the loss, summed; gradients are in the module
Step = Callable[[Float32, Labels, Labels], float]


def torch_or_what_to_install() -> Any:
    """Return PyTorch; raise InputError with what to install if it is absent."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise InputError("it needs PyTorch, which is not installed: pip install torch") from None


class ModuleDescent(DifferentiableModel, ABC):
    """What trains a module, by the cross-entropy or by any gradient that it is given.

    The parameters are those of `fastadv.models.module_classifier.TorchClassifier`.
    """

    computed_by = "torch"

    epochs: int
    lr: float
    batch_size: int
    optimizer: Optimizer
    weight_decay: float
    image_shape: tuple[int, int, int] | None
    random_state: int | np.random.RandomState | None

    module_: Any
    loss_curve_: list[float]
    n_features_in_: int
    _met: DifferentiableFunction

    @abstractmethod
    def _new_module(self, n_features: int, n_classes: int) -> Any:
        """Return an untrained module; its draws are PyTorch's, whose seed is set."""

    @abstractmethod
    def _inputs(self, module: Any) -> Chain:
        """Return what is done to images before the module gets them."""

    def bind(self, task: Task) -> Self:
        """Return the estimator with the shape of an image, unless it has one."""
        if self.image_shape is not None:
            return self
        bound: Self = clone(self).set_params(image_shape=task.image_shape)
        return bound

    def check_parameters(self) -> None:
        """Raise InputError, in one line, if a parameter has no sense, or PyTorch is absent."""
        at_least(1, epochs=self.epochs, batch_size=self.batch_size)
        require(0 < self.lr < math.inf, "lr has to be above 0", self.lr)
        at_least(0, weight_decay=self.weight_decay)
        if self.optimizer not in ("sgd", "adam"):
            raise InputError(f"optimizer has to be sgd or adam, got {self.optimizer!r}")
        torch_or_what_to_install()

    @property
    def batch_rows(self) -> int:
        """How many rows it wants at once."""
        return batch_rows_for(self.image_shape)

    # -- training ---------------------------------------------------------------------------------

    def fit(self, X: Floats, y: npt.NDArray[Any]) -> Self:
        """Train on X (n, d) and labels y (n,).

        Raises
        ------
        InputError
            If a parameter makes no sense, or the module does not fit the data.
        DivergenceError
            If the loss or a weight is no longer finite.
        """
        return self.fit_perturbed(X, y, None)

    def fit_perturbed(self, X: Floats, y: npt.NDArray[Any], perturb: Perturb | None) -> Self:
        """Train as `fit` does, on what ``perturb`` makes of each batch just before its step.

        See `fastadv.models.descent.Descent.fit_perturbed`. The model that it gets is in evaluation
        mode.
        """

        def step(x: Float32, rows: Labels, columns: Labels) -> float:
            x = x if perturb is None else perturb(self, x, rows, columns)
            torch = self._torch
            out = self.module_(self._tensor(x))
            loss = torch.nn.functional.cross_entropy(out, torch.from_numpy(columns))
            loss.backward()
            return float(loss.detach()) * len(x)

        return self._descend(X, y, step)

    def fit_gradient(self, X: Floats, y: npt.NDArray[Any], gradient: BatchGradient) -> Self:
        """Train as `fit` does, on any loss: ``gradient`` gives it and its gradient for each batch.

        See `fastadv.models.descent.Descent.fit_gradient`. The gradient of all parameters is one
        vector, in the order of ``module_.parameters()``.
        """

        def step(x: Float32, rows: Labels, columns: Labels) -> float:
            parameters = list(self.module_.parameters())
            out = np.empty(sum(p.numel() for p in parameters), dtype=np.float32)
            total = gradient(self, x, rows, columns, out)
            ends = np.cumsum([p.numel() for p in parameters])[:-1]
            for p, part in zip(parameters, np.split(out / np.float32(len(x)), ends), strict=True):
                p.grad = self._torch.from_numpy(part).reshape(p.shape).to(p)
            return total

        return self._descend(X, y, step)

    def parameter_vjp(self, X: Float32) -> tuple[Float32, Callable[[Float32], Float32]]:
        """Return the logits (n, k) and the pullback to all parameters, (n, k) to (P,), summed."""
        torch, parameters = self._torch, list(self.module_.parameters())
        out = self.module_(self._tensor(X))

        def pullback(dlogits: Float32) -> Float32:
            given = torch.from_numpy(np.ascontiguousarray(dlogits)).to(out)
            slopes = torch.autograd.grad(
                out, parameters, given, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            flat: Float32 = torch.cat([slope.reshape(-1) for slope in slopes]).float().numpy()
            return flat

        logits: Float32 = out.detach().float().numpy()
        return logits, pullback

    def _descend(self, X: Floats, y: npt.NDArray[Any], step: Step) -> Self:
        """Run the epochs; the rate falls to 0 over the last 30 % of the steps."""
        self.check_parameters()
        X, columns, rng = self._start(X, y)
        n_steps = -(-len(X) // self.batch_size)
        rates = iter(step_rates("cooldown", self.lr, self.epochs * n_steps))
        with self._seeded(rng) as torch:
            self._take(self._new_module(X.shape[1], len(self.classes_)))
            self._look_at(X[:_FEW])
            optimizer = self._new_optimizer(torch)
            self.module_.train()
            for number in range(self.epochs):
                total, order = 0.0, rng.permutation(len(X))
                for start in range(0, len(X), self.batch_size):
                    batch = order[start : start + self.batch_size]
                    optimizer.param_groups[0]["lr"] = float(next(rates))
                    optimizer.zero_grad()
                    total += step(X[batch], batch, columns[batch])
                    optimizer.step()
                self.loss_curve_.append(total / len(X))
                finite = all(bool(p.isfinite().all()) for p in self.module_.parameters())
                if not math.isfinite(total) or not finite:
                    raise DivergenceError(
                        f"training diverged in epoch {number + 1} of {self.epochs}: lower lr (it "
                        f"is {self.lr:g})"
                    )
        self._freeze()
        return self

    def _start(
        self, X: Floats, y: npt.NDArray[Any]
    ) -> tuple[Float32, Labels, np.random.RandomState]:
        X, y = validate_data(self, X, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        self.classes_, columns = numbered(y)
        self.loss_curve_ = []
        return X, columns, check_random_state(self.random_state)

    @contextmanager
    def _seeded(self, rng: np.random.RandomState) -> Iterator[Any]:
        """Have PyTorch draw by ``rng``, in one thread; afterwards both are as they were."""
        torch = self._torch
        with torch.random.fork_rng(devices=[]), threads_of_torch(torch, 1), torch.enable_grad():
            torch.manual_seed(int(rng.randint(2**31)))
            yield torch

    def _new_optimizer(self, torch: Any) -> Any:
        parameters, decay = list(self.module_.parameters()), float(self.weight_decay)
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, self.lr, weight_decay=decay)
        return torch.optim.SGD(parameters, self.lr, momentum=_MOMENTUM, weight_decay=decay)

    # -- the module -------------------------------------------------------------------------------

    @property
    def _torch(self) -> Any:
        return torch_or_what_to_install()

    def _take(self, module: Any) -> None:
        """Have this module, with nothing of it trained yet."""
        self.module_, passes = module, Passes(module)
        inputs = self._inputs(module)
        self._met = DifferentiableFunction(passes, passes.vjp, inputs, Outputs(), self.classes_)
        self._met.batch_rows = self.batch_rows

    def _freeze(self) -> None:
        self.module_.eval().requires_grad_(False)
        for parameter in self.module_.parameters():
            parameter.grad = None

    def _tensor(self, X: Floats) -> Any:
        """Return images X (n, d) as the module takes them, in its own precision."""
        tensor = self._torch.from_numpy(np.ascontiguousarray(self._inputs(self.module_)(X)))
        first = next(self.module_.parameters(), None)
        return tensor if first is None else tensor.to(first.dtype)

    def _look_at(self, X: Float32) -> None:
        """Raise InputError if the module does not return logits of images X (n, d)."""
        with self._evaluating(), self._torch.inference_mode():
            try:
                out = self.module_(self._tensor(X))
            except Exception as error:  # of any module
                shape = tuple(self._inputs(self.module_)(X).shape)
                raise InputError(
                    f"the module does not take images of shape {shape} ({brief(error)})"
                ) from None
        expected = (len(X), len(self.classes_))
        shape = tuple(getattr(out, "shape", ()))
        if shape != expected:
            raise InputError(
                f"the module returns {shape or type(out).__name__} of {len(X)} images; logits of "
                f"{expected[1]} classes have shape {expected}"
            )
        if out.min() >= 0 and (out.sum(dim=1) - 1).abs().max() < _SAME:
            raise InputError("the module returns probabilities: leave its last softmax out")

    @contextmanager
    def _evaluating(self) -> Iterator[DifferentiableFunction]:
        """Have the module in evaluation mode, in one thread; it trains on afterwards if it did."""
        if "_met" not in vars(self):
            check_is_fitted(self, "module_")
        training = self.module_.training
        if training:
            self.module_.eval()
        try:
            with threads_of_torch(self._torch, 1):
                yield self._met
        finally:
            if training:
                self.module_.train()

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback to X (n, d), in the calling thread."""
        with self._evaluating() as met:
            logits, pull = met.vjp(checks.rows(X, self.n_features_in_))

        def pullback(dlogits: Floats) -> Floats:
            with threads_of_torch(self._torch, 1):
                return pull(dlogits)

        return logits, pullback

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k), in the calling thread."""
        with self._evaluating() as met:
            return met.logits(checks.rows(X, self.n_features_in_))

    def predict_proba(self, X: Floats) -> Float64:
        """Return the softmax of the logits, shape (n, k), float64."""
        return probabilities(self.logits(X))
