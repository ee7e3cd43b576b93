"""Adversarial training (Madry et al., ICLR 2018) and TRADES (Zhang et al., ICML 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import clone

from fastadv import capabilities, checks, seeds
from fastadv.arrays import Float32, Floats, Labels
from fastadv.batches import map_rows
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
    WarmStarted,
)
from fastadv.seeds import Stream
from fastadv.specs import Checked
from fastadv.task import Task

_CHUNK = 64  # of a batch that each thread attacks
_LEAST = np.float32(1e-30)  # of a probability, before its logarithm


@dataclass(frozen=True)
class AdversarialTraining(Checked):
    """Descent on the loss of attacked images, the attack made against the model as it stands.

    Parameters
    ----------
    attack : EvasionAttack
        In a spec: ``adv_training[attack=pgd[eps=0.1,steps=5]]``. The paper trains convolutional
        networks at eps 0.3 with 40 steps; a perceptron wants 0.1 and, where the attack is
        ``warm``, one step of that size.
    epochs : int
        In place of the model's own.
    batch_size : int
        In place of the model's: two chunks, one for each of two threads.
    warm : bool or None
        The attack on an image begins where the one an epoch ago ended, so that its steps add up
        over the epochs and one is enough (Zheng et al., CVPR 2020, arXiv 1912.11969); begun anew
        in every epoch, a single step is a weak attack. None: where the attack can begin at given
        images, as ``pgd`` can.
    loss : {"ce", "trades"}
        The cross-entropy of the attacked image; or that of the clean one and ``beta`` times the
        divergence KL(p(x) || p(x')) of the two predictions, which the attack then maximises in
        place of the cross-entropy (Zhang et al., ICML 2019, arXiv 1901.08573, section 3.3; there
        the attack starts beside x, here anywhere in its ball).
    beta : float
        Of ``trades``; the paper's 1/lambda, 6 in its strongest models.
    """

    attack: EvasionAttack
    epochs: int = 6
    batch_size: int = 128
    warm: bool | None = None
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
        if self.warm and not isinstance(self.attack, WarmStarted):
            raise InputError(f"warm=true needs an attack such as pgd, got {self.attack.name}")
        if self.loss == "trades" and self.attack.name != "pgd":
            raise InputError(f"loss=trades steps by pgd, got attack={self.attack.name}")

    def supports(self, model: Any, task: Task) -> str | None:
        """Return None, or why the defense cannot train the model, or attack it meanwhile."""
        way = BatchTrainable if self.loss == "ce" else LossTrainable
        settings = (capabilities.epochs_of(model) or "max_iter", "batch_size")
        lacking = capabilities.missing(model, way, parameters=settings)
        if lacking:
            return f"adv_training needs {lacking}"
        return capabilities.supports(self.attack, model, task)

    def fit(self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int) -> Model:
        """Return a clone of ``model``, trained on attacked batches."""
        X, y = checks.training_set(X, y, task)
        in_epochs = {capabilities.epochs_of(model) or "max_iter": self.epochs}
        hardened = clone(model).set_params(**in_epochs, batch_size=self.batch_size)
        attacker = _Attacker(self.attack, X.shape if self._goes_on() else None, task, seed)
        if self.loss == "trades":
            trades: Model = hardened.fit_gradient(X, y, self._trades(attacker))
            return trades

        def perturb(model: Any, x: Float32, rows: Labels, columns: Labels) -> Float32:
            craft, out = attacker.on_batch(model), np.empty_like(x)

            def attack(start: int, stop: int) -> None:
                part = slice(start, stop)
                out[part] = craft(x[part], rows[part], columns[part])

            map_rows(model, attack, len(x), _CHUNK)
            return out

        trained: Model = hardened.fit_perturbed(X, y, perturb)
        return trained

    def _goes_on(self) -> bool:
        """Return whether the attack on an image begins where it ended an epoch ago."""
        return isinstance(self.attack, WarmStarted) if self.warm is None else self.warm

    def _trades(self, attacker: _Attacker) -> BatchGradient:
        """Return the loss and gradient of a batch: clean cross-entropy and divergence."""

        def gradient(model: Any, x: Float32, rows: Labels, columns: Labels, out: Float32) -> float:
            craft = attacker.on_batch(model)

            def block(start: int, stop: int) -> tuple[Float32, float]:
                part, labels = x[start:stop], columns[start:stop]
                logits, pullback = model.parameter_vjp(part)
                losses, dlogits = np.empty(len(part)), np.empty_like(logits)
                kernels.cross_entropy(logits, labels, losses, dlogits)
                p = np.empty_like(logits)
                kernels.softmax(logits, p)
                x_adv = craft(part, rows[start:stop], labels, p)
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

            return add_up(model, block, len(x), _CHUNK, out)

        return gradient


class _Attacker:
    """The attack on the batches of one training.

    Parameters
    ----------
    attack : EvasionAttack
    shape : tuple of int or None
        Of the rows that are trained on, (n, d); None: attacks begin anew in every epoch.
    """

    def __init__(self, attack: Any, shape: tuple[int, ...] | None, task: Task, seed: int) -> None:
        self.attack, self.task, self.seed, self.step = attack, task, seed, 0
        # where the attack on each row ended, of those on which it has begun
        self.ends = None if shape is None else np.empty(shape, dtype=np.float32)
        self.begun = np.zeros(shape[0] if shape else 0, dtype=bool)

    def on_batch(self, model: Any) -> Callable[..., Float32]:
        """Return what attacks some rows of the next batch: their images, numbers and columns.

        And, where the attack is to climb the divergence from them, the clean probabilities.
        """
        self.step += 1
        key = seeds.derive(self.seed, "adv_training", self.step)
        met = capabilities.adapted(model, self.task)

        def craft(x: Float32, rows: Labels, columns: Labels, p: Float32 | None = None) -> Float32:
            stream, task = Stream(key, rows.astype(np.uint64)), self.task
            climbed: Any = met if p is None else _Divergent(met, p)
            if self.ends is None:
                x_adv, _ = self.attack.craft(climbed, x, columns, None, task=task, stream=stream)
            else:
                start, new = self.ends[rows], np.flatnonzero(~self.begun[rows])
                if len(new):
                    start[new] = self.attack.random_start(
                        x[new], task=task, stream=stream.rows(new)
                    )
                x_adv, _ = self.attack.craft_from(
                    start, climbed, x, columns, None, task=task, stream=stream
                )
                self.ends[rows], self.begun[rows] = x_adv, True
            x_adv = capabilities.brought_back(self.attack, x, x_adv, task)
            return np.ascontiguousarray(x_adv, dtype=np.float32)

        return craft


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
