"""What a poisoning attacker wants of the trained model: any error, or one class for another."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Labels
from fastadv.errors import InputError
from fastadv.task import Task


@dataclass(frozen=True)
class Goal:
    """Error-generic, or error-specific: images of ``source`` are to be taken for ``target``.

    Munoz-Gonzalez et al. (AISec 2017, section 3): the generic attacker maximises the loss on
    validation images, the specific one minimises it towards the labels that it wants them to get.
    """

    source: int | None = None
    target: int | None = None

    @classmethod
    def parse(cls, text: str, task: Task) -> Goal:
        """Read ``generic``, or ``8-3`` for "8 as 3", by the names of the task's classes.

        Raises
        ------
        InputError
            If the text is neither, or there is no such class.
        """
        return cls(*(task.label_of(name) for name in cls.classes(text)))

    @staticmethod
    def classes(text: str) -> tuple[str, ...]:
        """Return the names of the two classes, none for ``generic``.

        Raises
        ------
        InputError
            If the text is neither.
        """
        if text == "generic":
            return ()
        pair = re.fullmatch(r"(\d+)-(\d+)", text)
        if not pair or pair[1] == pair[2]:
            raise InputError(
                f"objective has to be generic, or two classes such as 8-3 (8 as 3), got {text!r}"
            )
        return pair[1], pair[2]

    @property
    def sign(self) -> float:
        """1 where the attacker raises the loss towards `wanted`, -1 where it lowers it."""
        return 1.0 if self.source is None else -1.0

    def wanted(self, y_val: Labels) -> Labels:
        """Return the labels that the validation loss is taken towards."""
        labels = y_val.copy()
        if self.target is not None:
            labels[y_val == self.source] = self.target
        return labels

    def harm(self, predicted: npt.NDArray[np.int64], y_val: Labels) -> float:
        """Return the share of wrong labels, or of the source class's images that got the target."""
        if self.source is None:
            return float(np.mean(predicted != y_val))
        return float(np.mean(predicted[y_val == self.source] == self.target))

    def check(self, y_val: Labels, task: Task) -> None:
        """Raise InputError unless there are validation images of the source."""
        if self.source is not None and not np.any(y_val == self.source):
            name = task.name_of(self.source)
            raise InputError(f"objective {name}-...: no validation image is of class {name}")
