"""What one attack did, for ``fastadv attack``: drawings, and arrays to keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.text import Text

from fastadv.arrays import Arrays, Floats, write_arrays
from fastadv.columns import Columns
from fastadv.experiment import Evasion, Poisoning
from fastadv.protocols import Model
from fastadv.report import plots
from fastadv.report.changes import of_rows
from fastadv.report.changes_text import changes_text
from fastadv.report.panels import panels
from fastadv.report.terminal_image import captioned, flow_text, image_text, in_rows


class View(ABC):
    """What an attack did: drawings, and arrays to keep."""

    @abstractmethod
    def draw(self, count: int, *, color: bool, width: int) -> Text:
        """Return drawings of the first ``count`` images, for ``width`` columns."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what is to be kept."""

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz file, whole or not at all."""
        write_arrays(path, self.arrays())


def view(attacked: Evasion | Poisoning) -> View:
    """Return how to show what an attack did."""
    return EvasionView(attacked) if isinstance(attacked, Evasion) else PoisoningView(attacked)


# -- evasion --------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvasionView(View):
    """Of test images before and after an attack."""

    attacked: Evasion

    def draw(self, count: int, *, color: bool, width: int) -> Text:
        """Draw the first images that were right before: clean, their flow if any, attacked."""
        rows = np.flatnonzero(~self.attacked.result.misclassified)[:count]
        if self.attacked.data.task.columns is not None:
            before, after = self.attacked.X[rows], self.attacked.result.x_adv[rows]
            captions = [" → ".join(self._captions(row)) for row in rows]
            return _changed(self.attacked.data.task.columns, before, after, captions, width)
        return Text("\n").join(self._pair(row, color, width) for row in rows)

    def _pair(self, row: int, color: bool, width: int) -> Text:
        task = self.attacked.data.task
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
        shape = self.attacked.data.task.image_shape
        return self.attacked.X[row].reshape(shape), self.attacked.result.x_adv[row].reshape(shape)

    def _captions(self, row: int) -> tuple[str, str]:
        """Return the predicted label and its confidence before and after."""
        texts = []
        for word, image in (
            ("clean", self.attacked.X[row]),
            ("attacked", self.attacked.result.x_adv[row]),
        ):
            label, confidence = _label(self.attacked.model, image)
            texts.append(f"{word}: {self.attacked.data.class_names[label]} ({confidence:.1%})")
        return texts[0], texts[1]

    def _flow(self, row: int) -> Floats | None:
        """Return the flow (2, H, W) that made the image what it is, if there is one."""
        flow = self.attacked.result.details.get("flow")
        return flow[row] if flow is not None and self.attacked.result.is_adv[row] else None

    def plot(self, path: Path, count: int) -> None:
        """Write a picture, a row for each of the first images that were right before."""
        rows = np.flatnonzero(~self.attacked.result.misclassified)[:count]
        bounds, flows = self.attacked.data.task.bounds, [self._flow(row) for row in rows]
        moved = any(flow is not None for flow in flows)
        drawn = [
            panels(*self._images(row), self._captions(row), bounds, flow=flow, with_flow=moved)
            for row, flow in zip(rows, flows, strict=True)
        ]
        plots.attacked_images(path, drawn)

    def arrays(self) -> Arrays:
        """Return images, labels, predictions, distances and details."""
        result = self.attacked.result
        return {
            "row": self.attacked.rows,
            "x": self.attacked.X,
            "x_adv": result.x_adv,
            "y": self.attacked.y,
            "prediction": self.attacked.model.predict(self.attacked.X),
            "prediction_adv": self.attacked.model.predict(result.x_adv),
            "is_adv": result.is_adv,
            "success": result.success,
            **{f"distance_{name}": values for name, values in result.distances.items()},
            **{f"detail_{name}": values for name, values in result.details.items()},
        }


def _changed(
    columns: Columns, before: Floats, after: Floats, captions: Sequence[str], width: int
) -> Text:
    """Return rows of a table, what changed of each."""
    found = of_rows(columns.kept(), before, after) or []
    told = zip(captions, found, strict=True)
    return Text("\n\n").join(changes_text(caption, changes, width) for caption, changes in told)


def _label(model: Model, image: Floats) -> tuple[int, float]:
    """Return the predicted class and its softmax probability."""
    logits = np.asarray(model.logits(image[np.newaxis])[0], dtype=np.float64)
    shares = np.exp(logits - logits.max())
    best = int(logits.argmax())
    return int(model.classes_[best]), float(shares[best] / shares.sum())


# -- poisoning ------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoisoningView(View):
    """Of a poisoned training set and what it does."""

    attacked: Poisoning

    def draw(self, count: int, *, color: bool, width: int) -> Text:
        """Draw the first poison points with their labels."""
        task, result = self.attacked.data.task, self.attacked.result
        if task.columns is not None:
            after, names = result.X[result.index[:count]], self.attacked.data.class_names
            before = after if result.origin is None else self._origins()[:count]
            captions = [f"labelled {names[int(y)]}" for y in result.y[result.index[:count]]]
            return _changed(task.columns, before, after, captions, width)
        drawings = []
        for row in self.attacked.result.index[:count]:
            image = self.attacked.result.X[row].reshape(task.image_shape)
            label = self.attacked.data.class_names[int(self.attacked.result.y[row])]
            drawing = image_text(image, color=color, bounds=task.bounds)
            drawings.append(Text.assemble(captioned(drawing, f"labelled {label}"), "\n"))
        return in_rows(drawings, width)

    def _origins(self) -> Floats:
        """Return the training rows that the points started as."""
        return self.attacked.data.x_train[self.attacked.result.origin]

    def arrays(self) -> Arrays:
        """Return the poison points, their labels and rows, and the attacker's loss."""
        result = self.attacked.result
        arrays: Arrays = {
            "x": result.X[result.index],
            "y": result.y[result.index],
            "index": result.index,
            "history": result.history,
        }
        if result.trigger is not None:
            arrays["trigger"] = result.trigger
        return arrays
