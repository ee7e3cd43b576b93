"""Interval bounds: training on the worst case and certified Linf radii (Gowal et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from fastadv import capabilities, checks, threat
from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.errors import at_least, require
from fastadv.kernels.network import interval as kernels
from fastadv.kernels.network import loss
from fastadv.models.base import certified_labels, forward_of
from fastadv.models.network import Network, add_up
from fastadv.protocols import Layered, Logits, LossTrainable, Model
from fastadv.results import Certificate
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threads import map_chunks
from fastadv.threat import Threat

_TILE = 96  # images certified at once: BLAS gives each its bits in float64 wherever it stands
_BLOCK = 64  # rows of a batch that a thread takes
_UNIT = 2.0**-24  # the rounding unit of float32, in which the network runs
_BISECTIONS = 20  # of the radius, over the whole range of a pixel
_MARGIN = 1.0 + 2e-5  # over eps, so that what float32 rounds to just beyond eps is covered


@dataclass(frozen=True)
class Interval(Checked):
    """Training on the loss of the worst logits that interval bounds allow, and their certificate.

    The certificate holds for images within the radius in Linf and within the range of a pixel, and
    for the network as it runs, in float32: its rounding errors are part of the bounds.

    Parameters
    ----------
    eps : float
        The radius that the certified accuracy is stated for, and the one that is trained for.
    kappa : float
        Weight of the clean image's cross-entropy at the end of the schedule; the paper's is 0.5.
    ramp : float
        Over this share of the steps eps grows from 0 and the clean weight falls from 1, linearly.
    epochs : int
        In place of the model's ``max_iter``. The paper trains 100 epochs, with Adam.
    batch_size : int
        In place of the model's. The model's learning rate is kept, and how it falls.
    """

    eps: float = 0.1
    kappa: float = 0.3
    ramp: float = 0.4
    epochs: int = 15
    batch_size: int = 128

    name: ClassVar[str] = "interval"
    reference: ClassVar[str] = "Gowal et al. 2018, arXiv 1810.12715, section 3"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.eps <= 1, "eps has to be from 0 to 1", self.eps)
        require(0 <= self.kappa <= 1, "kappa has to be from 0 to 1", self.kappa)
        require(0 <= self.ramp <= 1, "ramp has to be from 0 to 1", self.ramp)
        at_least(1, epochs=self.epochs, batch_size=self.batch_size)

    def supports(self, model: Any, task: Task) -> str | None:
        """Return None, or why the defense cannot train and bound the model."""
        settings = ("max_iter", "batch_size")
        lacking = capabilities.missing(model, Layered, LossTrainable, Logits, parameters=settings)
        return f"interval bounds need {lacking}" if lacking else None

    def threat(self) -> Threat:
        """Return the ball that the certified accuracy is stated for."""
        return threat.linf(self.eps)

    def fit(self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int) -> Model:
        """Return a clone of ``model``, trained on the worst case of each image."""
        X, y = checks.training_set(X, y, task)
        step, n_steps = 0, self.epochs * -(-len(X) // self.batch_size)

        def gradient(model: Any, x: Float32, _rows: Labels, columns: Labels, out: Float32) -> float:
            nonlocal step
            network = model.network()
            grown = min(step / max(self.ramp * n_steps, 1.0), 1.0)
            step += 1
            clean = 1.0 - (1.0 - self.kappa) * grown
            absolute = np.abs(network.params)

            def block(start: int, stop: int) -> tuple[Float32, float]:
                n, part, labels = stop - start, x[start:stop], columns[start:stop]
                losses, worst = np.empty(n), np.empty(n)
                logits, pullback = model.parameter_vjp(part)
                dlogits = np.empty_like(logits)
                loss.cross_entropy(logits, labels, losses, dlogits)
                dlogits *= np.float32(clean)
                slope = pullback(dlogits)
                kernels.worst_case(
                    part, labels, np.full(n, self.eps * grown), *task.bounds, network.params,
                    absolute, network.sizes, network.activation, 1.0 - clean, slope, worst,
                )  # fmt: skip
                return slope, float(clean * losses.sum() + (1.0 - clean) * worst.sum())

            return add_up(model, block, len(x), _BLOCK, out)

        hardened = clone(model).set_params(max_iter=self.epochs, batch_size=self.batch_size)
        trained: Model = hardened.fit_gradient(X, y, gradient)
        return trained

    def certify(self, model: Any, X: Floats, *, task: Task, seed: int) -> Certificate:
        """Certify every row of X (n, d) in Linf; the radii are found by bisection.

        No image is abstained on, its radius may be 0.
        """
        X, bounds = checks.images(X, task), _Bounds(model.network(), task)
        columns, radius = np.zeros(len(X), dtype=np.int64), np.zeros(len(X))
        forward = forward_of(model)

        def certify(start: int, stop: int) -> None:
            # A whole tile, padded: a smaller product may round otherwise.
            n, x = stop - start, np.zeros((_TILE, X.shape[1]), dtype=np.float32)
            x[:n] = X[start:stop]
            predicted = forward(x).argmax(axis=1)
            columns[start:stop] = predicted[:n]
            radius[start:stop] = bounds.radii(x, predicted, self.eps * _MARGIN)[:n]

        map_chunks(certify, len(X), _TILE)
        return Certificate(certified_labels(model.classes_, columns), radius, "linf")


class _Bounds:
    """What interval bounds prove of a network, in float64 and for its arithmetic in float32."""

    def __init__(self, network: Network, task: Task) -> None:
        self.network, self.bounds = network, task.bounds
        self.params = network.params.astype(np.float64)
        self.absolute = np.abs(self.params)

    def margins(self, x: Float32, columns: Labels, eps: Float64) -> Float64:
        """Return the least difference of the class's logit to any other within eps (n,)."""
        out = np.empty(len(x))
        kernels.worst_margins(
            x, eps, columns, *self.bounds, self.params, self.absolute, self.network.sizes,
            self.network.activation, _UNIT, out,
        )  # fmt: skip
        return out

    def radii(self, x: Float32, columns: Labels, first: float) -> Float64:
        """Return certified radii (n,); ``first`` is tried first, so that it is met exactly."""
        low, high = self.bounds
        certified, refuted = np.zeros(len(x)), np.full(len(x), high - low)
        trial = np.full(len(x), min(first, high - low))
        for _ in range(_BISECTIONS):
            holds = self.margins(x, columns, trial) > 0
            certified[holds], refuted[~holds] = trial[holds], trial[~holds]
            trial = (certified + refuted) / 2
        return certified
