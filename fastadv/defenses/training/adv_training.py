"""Adversarial training: each batch is attacked before its step (Madry et al., ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from fastadv import seeds
from fastadv.errors import InputError
from fastadv.protocols import EvasionAttack, Float32, Floats, Labels, Model, Task
from fastadv.seeds import Stream
from fastadv.threads import map_chunks

_CHUNK = 64  # of a batch that each thread attacks


@dataclass(frozen=True)
class AdversarialTraining:
    """Descent on the loss of attacked images, the attack made against the model as it stands.

    Parameters
    ----------
    attack : EvasionAttack
        In a spec: ``adv_training[attack=pgd[eps=0.1,steps=5]]``. The paper trains convolutional
        networks at eps 0.3 with 40 steps; a perceptron wants 0.1.
    epochs : int
        In place of the model's ``max_iter``.
    batch_size : int
        In place of the model's: two whole tiles of the kernels, one for each of two threads.
    """

    attack: EvasionAttack
    epochs: int = 8
    batch_size: int = 128

    name: ClassVar[str] = "adv_training"
    reference: ClassVar[str] = "Madry et al., ICLR 2018, arXiv 1706.06083, section 2"

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"epochs has to be at least 1, got {self.epochs}")
        if self.batch_size < 1:
            raise InputError(f"batch_size has to be at least 1, got {self.batch_size}")
        if not isinstance(self.attack, EvasionAttack):
            raise InputError("attack has to be an evasion attack, such as pgd[eps=0.1,steps=5]")

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or why the defense cannot train the model: it has to learn in batches."""
        if not hasattr(model, "fit_perturbed"):
            return "adv_training needs a model that learns in batches (fit_perturbed)"
        return None

    def fit(self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int) -> Model:
        """Return a clone of ``model``, trained on attacked batches."""
        step = 0

        def perturb(model: Any, x: Float32, rows: Labels, columns: Labels) -> Float32:
            nonlocal step
            step += 1
            key, ids = seeds.derive(seed, "adv_training", step), rows.astype(np.uint64)
            out = np.empty_like(x)

            def attack(start: int, stop: int) -> None:
                part = slice(start, stop)
                stream = Stream(key, ids[part])
                out[part], _ = self.attack.craft(
                    model, x[part], columns[part], None, task=task, stream=stream
                )

            map_chunks(attack, len(x), _CHUNK)
            return out

        hardened = clone(model).set_params(max_iter=self.epochs, batch_size=self.batch_size)
        trained: Model = hardened.fit_perturbed(X, y, perturb)
        return trained
