"""What every evasion attack does around its own loop: chunks, threads, and honest bookkeeping."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, checks, seeds
from fastadv.arrays import Float32, Float64, Floats, Ids, Labels, Mask
from fastadv.attacks.evasion import probe
from fastadv.attacks.evasion.best import succeeds
from fastadv.batches import map_rows
from fastadv.errors import InputError, refuse
from fastadv.kernels.images import project
from fastadv.models.adapters.counting import Counted
from fastadv.models.base import class_columns
from fastadv.protocols import Model
from fastadv.results import EvasionResult
from fastadv.seeds import Stream
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threat import Threat

CHUNK = 128  # samples a thread attacks at once: their images and gradients stay in the L2 cache

Details = dict[str, npt.NDArray[Any]]


class Evasion(Checked, ABC):
    """Base of the evasion attacks here; a subclass is a frozen dataclass with its own `craft`."""

    name: ClassVar[str]
    reference: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"gradient"})

    @property
    def minimum_norm(self) -> bool:
        """Whether the attack searches for the least change and may pass the budget."""
        return False

    @property
    def chunk(self) -> int:
        """How many samples a thread attacks at once, unless the model says how many."""
        return CHUNK

    @abstractmethod
    def threat(self) -> Threat:
        """Return what the attack's figures are conditional on."""

    @abstractmethod
    def craft(
        self,
        model: Model,
        x: Float32,
        y: Labels,
        target: Labels | None,
        *,
        task: Task,
        stream: Stream,
    ) -> tuple[Floats, Details]:
        """Attack one chunk of images in the calling thread, without any judgement of success.

        Parameters
        ----------
        x : ndarray of shape (n, d), float32, in C order
            The images as they are, not to be modified.
        y : ndarray of shape (n,)
            Columns of the model's logits.
        target : ndarray of shape (n,) or None
            The columns wanted, where the attack is targeted.

        Returns
        -------
        x_adv : ndarray of shape (n, d)
            Within the task's bounds.
        details : dict of ndarray
            A row per image.
        """

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or the reason why the attack cannot run on ``model``."""
        if "gradient" in self.needs and not capabilities.differentiable(model):
            return f"{self.name} needs the model's input gradient (vjp or input_gradient)"
        if not capabilities.has_logits(model):
            return f"{self.name} needs the model's logits (vjp or logits)"
        return None

    def measure(self, x: Floats, x_adv: Floats, details: Details, task: Task) -> dict[str, Float64]:
        """Return the distances of each image, by name."""
        linf, l2 = np.empty(len(x)), np.empty(len(x))
        project.distances(x, x_adv, linf, l2)
        return {"linf": linf, "l2": l2}

    def perturb(
        self,
        model: Model,
        X: Floats,
        y: Labels,
        *,
        task: Task,
        target: Labels | None = None,
        seed: int = 0,
        sample_ids: Ids | None = None,
    ) -> EvasionResult:
        """Attack every row of X.

        Parameters
        ----------
        model : Model
            Trained. ``vjp`` is enough, or ``logits`` and ``input_gradient``; of a model without
            ``classes_`` column i of the logits is class i.
        X : ndarray of shape (n, d)
            Images within ``task.bounds``.
        y : ndarray of shape (n,)
            The true labels, of those that the model knows: numbers or texts.
        target : ndarray of shape (n,), optional
            The labels wanted; overrides the attack's own rule.
        sample_ids : ndarray of uint64, shape (n,), optional
            What a sample's randomness hangs on; the hash of its bytes unless given.

        Returns
        -------
        EvasionResult
            The same bytes for a sample alone, in any batch, and for any number of threads, on a
            model whose logits and gradients are so: fastadv's own are.

        Raises
        ------
        InputError
            If the model is not trained or lacks what the attack needs, the arrays do not fit the
            task, or a target is the true class.

        Warns
        -----
        GradientWarning
            If the gradients of a model from outside are zero or mislead, on a few of the images.
        """
        refuse(capabilities.supports(self, model, task))
        model = capabilities.adapted(model, task)
        X = checks.images(X, task).astype(np.float32, copy=False)
        columns = class_columns(model, checks.labels(y, len(X)))
        wanted = None
        if target is not None:
            wanted = class_columns(model, checks.labels(target, len(X), "target"))
            if np.any(wanted == columns):
                raise InputError("a target equals the true class; an attack has to change it")
        ids = None if sample_ids is None else np.asarray(sample_ids, dtype=np.uint64)
        if ids is not None and ids.shape != (len(X),):
            raise InputError(f"sample_ids has shape {ids.shape}; {len(X)} images have {len(X)} ids")
        if "gradient" in self.needs:
            probe.warn_of(model, X, columns, task)
        key, met, x_adv = seeds.derive(seed, "perturb", self.name), Counted(model), np.empty_like(X)

        def attack(start: int, stop: int) -> _Chunk:
            part = slice(start, stop)
            hashed = functools.partial(seeds.sample_ids, X[part])
            stream = Stream(key, hashed if ids is None else ids[part])
            target = None if wanted is None else wanted[part]
            return self._attack_chunk(
                met, X[part], columns[part], target, task, stream, x_adv[part]
            )

        chunks = map_rows(model, attack, len(X), self.chunk) or [attack(0, 0)]
        return _gather(chunks, x_adv, self.threat())

    def _attack_chunk(
        self,
        uncounted: Counted,
        x: Float32,
        y: Labels,
        target: Labels | None,
        task: Task,
        stream: Stream,
        out: Float32,
    ) -> _Chunk:
        """Attack, judge, and fill ``out`` (n, d) with what changed the label, otherwise with x."""
        model = uncounted.anew()
        if "gradient" in self.needs:
            clean = uncounted.vjp(x)
            model.remember(x, clean)
            logits = clean[0]
        else:
            logits = uncounted.logits(x)
        if logits.shape != (len(x), len(model.classes_)):
            raise InputError(
                f"the model's logits have shape {logits.shape}; {len(x)} images of "
                f"{len(model.classes_)} classes have ({len(x)}, {len(model.classes_)})"
            )
        misclassified = succeeds(logits, y, None)
        if target is None:
            target = self.choose_targets(uncounted, x, y, task, stream)
        x_adv, details = self.craft(model, x, y, target, task=task, stream=stream)
        out[:] = capabilities.brought_back(self, x, x_adv, task)
        is_adv = ~misclassified & succeeds(uncounted.logits(out), y, target)
        distances = self.measure(x, out, details, task)
        back = np.flatnonzero(~is_adv)
        out[back] = x[back]
        for values in distances.values():
            values[back] = 0.0
        return _Chunk(is_adv, misclassified, distances, details, model.forward, model.backward)

    def choose_targets(
        self,
        model: Model,
        x: Floats,
        y: Labels,
        task: Task,
        stream: Stream,
    ) -> Labels | None:
        """Return the columns that the attack's own rule aims at; None for an untargeted attack."""
        return None

    def __str__(self) -> str:
        inner = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))  # type: ignore[arg-type]
        return f"{self.name}({inner})"


class _Chunk(NamedTuple):
    """What came of one chunk."""

    is_adv: Mask
    misclassified: Mask
    distances: dict[str, Float64]
    details: Details
    forward: int
    backward: int


def _gather(chunks: list[_Chunk], x_adv: Float32, threat: Threat) -> EvasionResult:
    join, n = np.concatenate, max(len(x_adv), 1)
    distances = {k: join([c.distances[k] for c in chunks]) for k in chunks[0].distances}
    is_adv = join([c.is_adv for c in chunks])
    return EvasionResult(
        x_adv=x_adv,
        is_adv=is_adv,
        success=is_adv & threat.within(distances, len(is_adv)),
        misclassified=join([c.misclassified for c in chunks]),
        distances=distances,
        details={k: join([c.details[k] for c in chunks]) for k in chunks[0].details},
        queries={
            "forward": sum(c.forward for c in chunks) / n,
            "backward": sum(c.backward for c in chunks) / n,
        },
    )
