"""Adversarial training (Madry et al., ICLR 2018) and TRADES (Zhang et al., ICML 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import clone

from fastadv import capabilities, checks, seeds
from fastadv.arrays import Float32, Floats, Labels
from fastadv.errors import InputError, at_least
from fastadv.kernels.network import loss as kernels
from fastadv.models.base import DifferentiableModel
from fastadv.models.network import add_up
from fastadv.protocols import (
    BatchGradient,
    BatchTrainable,
    EvasionAttack,
    LossTrainable,
    Model,
    Pullback,
)
from fastadv.seeds import Stream
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threads import map_chunks

_CHUNK = 64  # of a batch that each thread attacks
_LEAST = np.float32(1e-30)  # of a probability, before its logarithm


@dataclass(frozen=True)
class AdversarialTraining(Checked):
    """Descent on the loss of attacked images, the attack made against the model as it stands.

    Parameters
    ----------
    attack : EvasionAttack
        In a spec: ``adv_training[attack=pgd[eps=0.1,steps=5]]``. The paper trains convolutional
        networks at eps 0.3 with 40 steps; a perceptron wants 0.1.
    epochs : int
        In place of the model's ``max_iter``.
    batch_size : int
        In place of the model's: two chunks, one for each of two threads.
    loss : {"ce", "trades"}
        The cross-entropy of the attacked image; or that of the clean one and ``beta`` times the
        divergence KL(p(x) || p(x')) of the two predictions, which the attack then maximises in
        place of the cross-entropy (Zhang et al., ICML 2019, arXiv 1901.08573, section 3.3; there
        the attack starts beside x, here anywhere in its ball).
    beta : float
        Of ``trades``; the paper's 1/lambda, 6 in its strongest models.
    """

    attack: EvasionAttack
    epochs: int = 8
    batch_size: int = 128
    loss: Literal["ce", "trades"] = "ce"
    beta: float = 6.0

    name: ClassVar[str] = "adv_training"
    reference: ClassVar[str] = "Madry et al., ICLR 2018, arXiv 1706.06083, section 2"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, epochs=self.epochs, batch_size=self.batch_size)
        if not isinstance(self.attack, EvasionAttack):
            raise InputError("attack has to be an evasion attack, such as pgd[eps=0.1,steps=5]")
        at_least(0, beta=self.beta)
        if self.loss == "ce":
            self.no_part("it is for loss=trades", "beta")
        if isinstance(self.attack, Checked):
            self.attack.no_part("training takes whatever the attack finds", "budget")
        if self.loss == "trades" and self.attack.name != "pgd":
            raise InputError(f"loss=trades steps by pgd, got attack={self.attack.name}")

    def supports(self, model: Any, task: Task) -> str | None:
        """Return None, or why the defense cannot train the model, or attack it meanwhile."""
        way = BatchTrainable if self.loss == "ce" else LossTrainable
        lacking = capabilities.missing(model, way, parameters=("max_iter", "batch_size"))
        if lacking:
            return f"adv_training needs {lacking}"
        return capabilities.supports(self.attack, model, task)

    def fit(self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int) -> Model:
        """Return a clone of ``model``, trained on attacked batches."""
        X, y = checks.training_set(X, y, task)
        hardened = clone(model).set_params(max_iter=self.epochs, batch_size=self.batch_size)
        if self.loss == "trades":
            trades: Model = hardened.fit_gradient(X, y, self._trades(task, seed))
            return trades
        step = 0

        def perturb(model: Any, x: Float32, rows: Labels, columns: Labels) -> Float32:
            nonlocal step
            step += 1
            key, ids = seeds.derive(seed, "adv_training", step), rows.astype(np.uint64)
            out, met = np.empty_like(x), capabilities.adapted(model, task)

            def attack(start: int, stop: int) -> None:
                part = slice(start, stop)
                stream = Stream(key, ids[part])
                out[part], _ = self.attack.craft(
                    met, x[part], columns[part], None, task=task, stream=stream
                )

            map_chunks(attack, len(x), _CHUNK)
            return out

        trained: Model = hardened.fit_perturbed(X, y, perturb)
        return trained

    def _trades(self, task: Task, seed: int) -> BatchGradient:
        """Return the loss and gradient of a batch: clean cross-entropy and divergence."""
        step = 0

        def gradient(model: Any, x: Float32, rows: Labels, columns: Labels, out: Float32) -> float:
            nonlocal step
            step += 1
            key, ids = seeds.derive(seed, "adv_training", step), rows.astype(np.uint64)
            met = capabilities.adapted(model, task)

            def block(start: int, stop: int) -> tuple[Float32, float]:
                part, labels = x[start:stop], columns[start:stop]
                logits, pullback = model.parameter_vjp(part)
                losses, dlogits = np.empty(len(part)), np.empty_like(logits)
                kernels.cross_entropy(logits, labels, losses, dlogits)
                p = np.empty_like(logits)
                kernels.softmax(logits, p)
                x_adv, _ = self.attack.craft(
                    _Divergent(met, p), part, labels, None,
                    task=task, stream=Stream(key, ids[start:stop]),
                )  # fmt: skip
                x_adv = np.ascontiguousarray(x_adv, dtype=np.float32)
                logits_adv, pullback_adv = model.parameter_vjp(x_adv)
                q = np.empty_like(p)
                kernels.softmax(logits_adv, q)
                ratio = np.log(np.maximum(p, _LEAST)) - np.log(np.maximum(q, _LEAST))
                divergence = (p * ratio).sum(axis=1, keepdims=True)
                beta = np.float32(self.beta)
                dlogits += beta * p * (ratio - divergence)
                slope = pullback(dlogits)
                slope += pullback_adv(beta * (q - p))
                return slope, float(losses.sum() + self.beta * divergence.sum())

            return add_up(block, len(x), _CHUNK, out)

        return gradient


class _Divergent(DifferentiableModel):
    """``model`` to an attack that climbs: up KL(p || softmax), whatever loss the attack has."""

    def __init__(self, model: Any, p: Float32) -> None:
        self.model, self.p, self.classes_ = model, p, model.classes_

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits and the pullback of the divergence in place of the attack's loss."""
        logits, pullback = self.model.vjp(X)
        q = np.empty_like(logits)
        kernels.softmax(logits, q)
        return logits, lambda _: pullback(q - self.p)
