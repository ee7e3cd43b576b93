"""The defense that does nothing: the column of the undefended model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class NoDefense:
    """The column of the undefended model."""

    name: ClassVar[str] = "none"
    reference: ClassVar[str] = ""
