"""Train, attack and measure for ``fastadv attack``; imports NumPy, so only when it runs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import RenderableType
from rich.text import Text

from fastadv import capabilities
from fastadv.arrays import Floats, Labels
from fastadv.cli import console
from fastadv.cli.progress import first_run
from fastadv.datasets import Dataset, load_dataset
from fastadv.errors import InputError
from fastadv.files import atomic_write
from fastadv.grid import defaults
from fastadv.grid.run import check_model
from fastadv.grid.stages import new_model, test_rows
from fastadv.protocols import EvasionAttack, Model, PoisoningAttack
from fastadv.registry import find, make
from fastadv.report import plots
from fastadv.report.attack_table import (
    EvasionSummary,
    PoisoningSummary,
    evasion_table,
    poisoning_table,
)
from fastadv.report.terminal_image import captioned, flow_text, image_text, in_rows
from fastadv.results import EvasionResult, PoisonEvaluation, PoisonResult
from fastadv.specs import Spec
from fastadv.threads import thread_count
from fastadv.threat import Threat
from fastadv.warmup import is_warm, warm_up

Wait = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Job:
    """What was asked for, as it was written."""

    attack: str
    dataset: str
    model: str
    samples: int | None
    seed: int

    def new_model(self, data: Dataset) -> Any:
        """Return an untrained model."""
        return new_model(self.model, self.seed, data)


class Outcome(ABC):
    """What an attack did: a table, drawings, and arrays to keep."""

    @property
    @abstractmethod
    def table(self) -> RenderableType:
        """The figures."""

    @abstractmethod
    def draw(self, count: int, *, color: bool, width: int) -> Text:
        """Return drawings of the first ``count`` images, for ``width`` columns."""

    @abstractmethod
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is to be kept."""

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz file, whole or not at all."""
        with atomic_write(path) as stream:
            np.savez_compressed(stream, allow_pickle=False, **self.arrays())


def run(job: Job, wait: Wait) -> Outcome:
    """Run the attack that ``job`` names.

    Parameters
    ----------
    wait : callable
        Given what is going on, a context manager that shows it.

    Raises
    ------
    InputError
        If something in the job is wrong, or the attack does not support the model.
    """
    attack = make("attack", job.attack)
    with wait(f"reading {job.dataset}"):
        data = load_dataset(job.dataset)
    for note in data.notes:
        console.say(f"{data.name}: {note}")
    model = job.new_model(data)
    check_model(model, job.model, data)
    reason = attack.supports(model, data.task)
    if reason:
        raise InputError(f"{job.attack} cannot attack {job.model} on {job.dataset}: {reason}")
    if job.samples is not None and job.samples > len(data.x_test):
        raise InputError(f"--samples {job.samples}: {data.name} has {len(data.x_test)} test images")
    names = {Spec.parse(job.attack).name, Spec.parse(job.model).name}
    if not is_warm(names):
        with wait(first_run()):
            warm_up(names=names)
    with wait(f"training {job.model} on {len(data.x_train):,} images"):
        model.fit(data.x_train, data.y_train)
    if find("attack", Spec.parse(job.attack).name).kind == "poisoning":
        return _poison(job, attack, model, data, wait)
    return _evade(job, attack, model, data, wait)


# -- evasion --------------------------------------------------------------------------------


def _evade(job: Job, attack: EvasionAttack, model: Model, data: Dataset, wait: Wait) -> Outcome:
    n = min(job.samples or defaults.SAMPLES, len(data.x_test))
    rows = test_rows(data, n)
    X, y = data.x_test[rows], data.y_test[rows]
    # Machine code is loaded from disk at the first call; that is not the attack's time.
    attack.perturb(model, X[:1], y[:1], task=data.task, seed=job.seed)
    with wait(f"attacking {n:,} test images with {job.attack}"):
        start = time.perf_counter()
        result = attack.perturb(model, X, y, task=data.task, seed=job.seed)
        seconds = time.perf_counter() - start
    return EvasionOutcome(job, attack, model, data, rows, X, y, result, seconds)


@dataclass(frozen=True)
class EvasionOutcome(Outcome):
    """Test images (their ``rows``) before and after an attack, which alone took ``seconds``."""

    job: Job
    attack: EvasionAttack
    model: Model
    data: Dataset
    rows: npt.NDArray[np.intp]
    X: Floats
    y: Labels
    result: EvasionResult
    seconds: float

    @property
    def table(self) -> RenderableType:
        """Accuracy before and after, distances, queries and speed."""
        result, threat = self.result, self.attack.threat()
        right = ~result.misclassified
        return evasion_table(
            EvasionSummary(
                attack=self.job.attack,
                model=f"{self.job.model}, {self.data.name}",
                threat=str(threat),
                n=len(self.X),
                right=int(right.sum()),
                survive=int((right & ~result.success).sum()),
                succeed=int(result.is_adv.sum()),
                distances=self._median_distances(),
                queries=result.queries,
                seconds=self.seconds,
                threads=thread_count(),
                minimum_norm=capabilities.minimum_norm(self.attack),
            )
        )

    def _median_distances(self) -> dict[str, float]:
        found = self.result.is_adv
        if not found.any():
            return {}
        return {k: float(np.median(v[found])) for k, v in self.result.distances.items()}

    def draw(self, count: int, *, color: bool, width: int) -> Text:
        """Draw the first images that were right before: clean, their flow if any, attacked."""
        rows = np.flatnonzero(~self.result.misclassified)[:count]
        return Text("\n").join(self._pair(row, color, width) for row in rows)

    def _pair(self, row: int, color: bool, width: int) -> Text:
        task = self.data.task
        drawings: list[Text] = []
        for caption, image in zip(self._captions(row), self._images(row), strict=True):
            drawings.append(captioned(image_text(image, color=color, bounds=task.bounds), caption))
        flow = self._flow(row)
        if flow is not None:
            longest = np.hypot(*flow).max()
            drawing = captioned(flow_text(flow, color=color), f"flow: {longest:.1f} px at most")
            drawings.insert(1, drawing)
        return Text.assemble(in_rows(drawings, width), "\n")

    def _images(self, row: int) -> tuple[Floats, Floats]:
        """Return the image before and after, (H, W, C)."""
        shape = self.data.task.image_shape
        return self.X[row].reshape(shape), self.result.x_adv[row].reshape(shape)

    def _captions(self, row: int) -> tuple[str, str]:
        """Return the predicted label and its confidence before and after."""
        texts = []
        for word, image in (("clean", self.X[row]), ("attacked", self.result.x_adv[row])):
            label, confidence = _label(self.model, image)
            texts.append(f"{word}: {self.data.class_names[label]} ({confidence:.1%})")
        return texts[0], texts[1]

    def _flow(self, row: int) -> Floats | None:
        """Return the flow (2, H, W) that made the image what it is, if there is one."""
        flow = self.result.details.get("flow")
        return flow[row] if flow is not None and self.result.is_adv[row] else None

    def plot(self, path: Path, count: int) -> None:
        """Write a picture of the first images that were right before."""
        rows = np.flatnonzero(~self.result.misclassified)[:count]
        plots.attacked_images(
            path,
            images=[self._images(row) for row in rows],
            captions=[self._captions(row) for row in rows],
            flows=[self._flow(row) for row in rows],
            bounds=self.data.task.bounds,
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return images, labels, predictions, distances and details."""
        result = self.result
        return {
            "row": self.rows,
            "x": self.X,
            "x_adv": result.x_adv,
            "y": self.y,
            "prediction": self.model.predict(self.X),
            "prediction_adv": self.model.predict(result.x_adv),
            "is_adv": result.is_adv,
            "success": result.success,
            **{f"distance_{name}": values for name, values in result.distances.items()},
            **{f"detail_{name}": values for name, values in result.details.items()},
        }


def _label(model: Model, image: Floats) -> tuple[int, float]:
    """Return the predicted class and its softmax probability."""
    logits = np.asarray(model.logits(image[np.newaxis])[0], dtype=np.float64)
    shares = np.exp(logits - logits.max())
    best = int(logits.argmax())
    return int(model.classes_[best]), float(shares[best] / shares.sum())


# -- poisoning ------------------------------------------------------------------------------


def _poison(job: Job, attack: PoisoningAttack, model: Any, data: Dataset, wait: Wait) -> Outcome:
    rows = test_rows(data, job.samples or len(data.x_test))
    X, y = data.x_test[rows], data.y_test[rows]
    with wait(f"poisoning with {job.attack}"):
        start = time.perf_counter()
        result = attack.poison(
            job.new_model(data), data.x_train, data.y_train, data.x_val, data.y_val,
            task=data.task, seed=job.seed,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    with wait(f"training {job.model} on the poisoned set"):
        poisoned = job.new_model(data).fit(result.X, result.y)
    before = int((model.predict(X) == y).sum())
    target = result.details.get("target")
    found = attack.evaluate(poisoned, X, y, trigger=result.trigger, target=target)
    return PoisoningOutcome(job, attack.threat(), data, y, result, before, found, seconds)


@dataclass(frozen=True)
class PoisoningOutcome(Outcome):
    """A poisoned training set, how many test images are right without it, what it does to them."""

    job: Job
    threat: Threat
    data: Dataset
    y: Labels
    result: PoisonResult
    right_before: int
    found: PoisonEvaluation
    seconds: float

    @property
    def table(self) -> RenderableType:
        """Accuracy before and after, the points and the attacker's loss."""
        plain, details = int | float | str, dict(self.result.details)
        if "target" in details:
            details["target"] = self.data.task.name_of(details["target"])
        return poisoning_table(
            PoisoningSummary(
                attack=self.job.attack,
                model=f"{self.job.model}, {self.data.name}",
                threat=str(self.threat),
                n=len(self.y),
                right_before=self.right_before,
                right_after=int((self.found.predicted == self.y).sum()),
                n_clean=len(self.data.x_train),
                points=len(self.result.index),
                seconds=self.seconds,
                survive=int(self.found.survives.sum()),
                triggered=self._triggered(),
                history=[float(loss) for loss in self.result.history],
                details={k: v for k, v in details.items() if isinstance(v, plain)},
            )
        )

    def _triggered(self) -> tuple[int, int] | None:
        """Return how many images get the label that the trigger calls, of how many others."""
        if self.found.success_rate is None:
            return None
        others = int((self.y != self.result.details["target"]).sum())
        return round(others * self.found.success_rate), others

    def draw(self, count: int, *, color: bool, width: int) -> Text:
        """Draw the first poison points with their labels."""
        task = self.data.task
        drawings = []
        for row in self.result.index[:count]:
            image = self.result.X[row].reshape(task.image_shape)
            label = self.data.class_names[int(self.result.y[row])]
            drawing = image_text(image, color=color, bounds=task.bounds)
            drawings.append(Text.assemble(captioned(drawing, f"labelled {label}"), "\n"))
        return in_rows(drawings, width)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the poison points, their labels and rows, and the attacker's loss."""
        result = self.result
        arrays: dict[str, npt.NDArray[Any]] = {
            "x": result.X[result.index],
            "y": result.y[result.index],
            "index": result.index,
            "history": result.history,
        }
        if result.trigger is not None:
            arrays["trigger"] = result.trigger
        return arrays
