"""The attack that does nothing: the row of clean accuracies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class NoAttack:
    """The row of clean accuracies."""

    name: ClassVar[str] = "none"
    reference: ClassVar[str] = ""
