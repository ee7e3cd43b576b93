"""The two controls of a grid: no attack and no defense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class NoAttack:
    """The row of clean accuracies."""

    name: ClassVar[str] = "none"
    reference: ClassVar[str] = ""


@dataclass(frozen=True)
class NoDefense:
    """The column of the undefended model."""

    name: ClassVar[str] = "none"
    reference: ClassVar[str] = ""
