"""What every stage keeps to, and what one makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fastadv.arrays import Arrays
from fastadv.grid.context import Context


@dataclass(frozen=True)
class Made:
    """What a stage has made.

    Attributes
    ----------
    arrays : dict of ndarray
        Of numbers or text.
    facts : dict
        Plain values, as JSON has them; an executor adds ``seconds``.
    """

    arrays: Arrays
    facts: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


Inputs = Mapping[str, Made]  # by the names under which a stage needs them


class Work(Protocol):
    """Something to compute from the results of stages."""

    @property
    def weight(self) -> float:
        """About how many seconds it takes, for the progress bar."""
        ...

    def label(self) -> str:
        """Return what a user reads while it runs."""
        ...

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the stages whose results it takes, each under the name that it has for it."""
        ...

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Do the work."""
        ...


class Stage(Work, Protocol):
    """A piece of work that cells share: its result hangs on its identity and its needs alone."""

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what its result hangs on beside its needs, in canonical text."""
        ...
