"""Cells as a user names them: ``ATTACK/DEFENSE``. It imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from fastadv.errors import InputError
from fastadv.specs import partition_top_level, same_spec

WORST, CLEAN = "worst", "none"  # attacks that are not run, but have a row

Cell = tuple[str, str]  # attack, defense


@dataclass(frozen=True)
class Pattern:
    """The cells that ``ATTACK/DEFENSE`` names."""

    attack: str
    defense: str

    @classmethod
    def parse(cls, text: str, where: str) -> Pattern:
        """Read a pattern; ``where`` is what an error names.

        Raises
        ------
        InputError
            If it is not of the form ``ATTACK/DEFENSE``.
        """
        attack, slash, defense = partition_top_level(text, "/")
        if not slash or not attack.strip() or not defense.strip():
            raise InputError(
                f"{where}: {text.strip()!r} names no cell; write ATTACK/DEFENSE, * for all"
            )
        return cls(attack.strip(), defense.strip())

    def names(self, attack: str, defense: str) -> bool:
        """Return whether it names this cell."""
        any_attack = self.attack == "*" and attack != CLEAN
        return (any_attack or same_spec(self.attack, attack)) and (
            self.defense == "*" or same_spec(self.defense, defense)
        )

    @property
    def one_cell(self) -> bool:
        """Whether it names one cell."""
        return "*" not in (self.attack, self.defense)

    def __str__(self) -> str:
        return f"{self.attack}/{self.defense}"
