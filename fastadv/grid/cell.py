"""What is asked of a grid: its axes, and its cells, in canonical text."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import fastadv
from fastadv import registry
from fastadv.errors import InputError, at_least, require
from fastadv.grid.row import SCHEMA
from fastadv.specs import Spec


def digest(*parts: object) -> str:
    """Return the hash that names a file, 16 hexadecimal digits."""
    text = "\x1f".join([f"schema {SCHEMA}", f"fastadv {fastadv.__version__}", *map(str, parts)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Choice:
    """An attack or a defense of a grid: as the user wrote it, and what it stands for."""

    text: str
    made: Any = field(compare=False, repr=False)

    @functools.cached_property
    def canonical(self) -> str:
        """The spec with every parameter."""
        return registry.canonical(self.made)


@dataclass(frozen=True)
class Cell:
    """One attack against one defense with one seed."""

    attack: Choice
    defense: Choice
    seed: int


@dataclass(frozen=True)
class Grid:
    """The axes of a grid.

    Parameters
    ----------
    attacks, defenses : tuple of Choice
        The attack ``none`` comes first.
    dataset, model : str
        Specs, as written.
    samples : int
        Test images that evasion attacks get.
    seeds : tuple of int
    """

    attacks: tuple[Choice, ...]
    defenses: tuple[Choice, ...]
    dataset: str
    model: str
    samples: int
    seeds: tuple[int, ...]

    @classmethod
    def parse(
        cls,
        attacks: Sequence[str],
        defenses: Sequence[str],
        dataset: str,
        model: str,
        samples: int,
        seeds: int,
        seed: int,
    ) -> Grid:
        """Build a grid from what a user wrote.

        Raises
        ------
        InputError
            With one line on the first thing that is wrong.
        """
        at_least(1, samples=samples, seeds=seeds)
        at_least(0, seed=seed)
        last = seed + seeds - 1
        require(last < 2**32, f"seeds have to be below {2**32}, as NumPy takes them", last)
        if not attacks or not defenses:
            raise InputError("a grid needs at least one attack and one defense")
        registry.make_model(model)
        return cls(
            attacks=_choices("attack", ["none", *attacks]),
            defenses=_choices("defense", defenses),
            dataset=dataset,
            model=model,
            samples=samples,
            seeds=tuple(range(seed, seed + seeds)),
        )

    def make_model(self, seed: int) -> Any:
        """Build the untrained model of one seed; a random_state in the spec is kept."""
        return registry.make("model", self.model, random_state=seed)

    def cells(self) -> list[Cell]:
        """Return the cells: seed by seed, attack by attack, defense by defense."""
        return [
            Cell(attack, defense, seed)
            for seed in self.seeds
            for attack in self.attacks
            for defense in self.defenses
        ]

    def describe(self) -> dict[str, Any]:
        """Return the grid as plain values, for JSON."""
        return {
            "dataset": self.dataset,
            "model": self.model,
            "attacks": [attack.text for attack in self.attacks],
            "defenses": [defense.text for defense in self.defenses],
            "samples": self.samples,
            "seeds": list(self.seeds),
        }


def _choices(what: str, texts: Sequence[str]) -> tuple[Choice, ...]:
    """Build each choice once: ``all`` stands for every registered one, repeats are dropped."""
    expanded: list[str] = []
    for text in texts:
        expanded += [e.name for e in registry.entries(what)] if text == "all" else [text]
    chosen: dict[str, Choice] = {}
    for text in expanded:
        choice = Choice(str(Spec.parse(text)), registry.make(what, text))
        chosen.setdefault(choice.canonical, choice)
    return tuple(chosen.values())
