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
from fastadv.grid import defaults
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


Dealt = tuple[int, int]  # of which images: see `Cell`


@dataclass(frozen=True)
class Cell:
    """One run of one attack against one defense.

    Attributes
    ----------
    seed : int
    dealt : (int, int)
        ``(k, R)``: the k-th of the R shares that the images for evasion attacks are dealt out in.
    """

    attack: Choice
    defense: Choice
    seed: int
    dealt: Dealt = (0, 1)


@dataclass(frozen=True)
class Grid:
    """The axes of a grid.

    Parameters
    ----------
    attacks, defenses : tuple of Choice
        The attack ``none`` comes first.
    dataset, model : str
        Specs, as written; of a model that came trained, what it is called.
    samples : int
        Test images that evasion attacks get, all runs of a cell together.
    repeats : int
        Runs of a cell.
    seed : int
        Of the first run.
    """

    attacks: tuple[Choice, ...]
    defenses: tuple[Choice, ...]
    dataset: str
    model: str
    samples: int
    repeats: int
    seed: int

    def __post_init__(self) -> None:
        require(
            self.repeats <= self.samples,
            f"repeats has to be at most samples ({self.samples}), which the runs share",
            self.repeats,
        )

    @classmethod
    def parse(
        cls,
        attacks: Sequence[str],
        defenses: Sequence[str],
        dataset: str,
        model: str,
        samples: int,
        repeats: int | None,
        seed: int,
    ) -> Grid:
        """Build a grid from what a user wrote.

        Raises
        ------
        InputError
            With one line on the first thing that is wrong.
        """
        repeats = min(defaults.REPEATS, samples) if repeats is None else repeats
        at_least(1, samples=samples, repeats=repeats)
        at_least(0, seed=seed)
        last = seed + repeats - 1
        require(last < 2**32, f"seeds have to be below {2**32}, as NumPy takes them", last)
        if not attacks or not defenses:
            raise InputError("a grid needs at least one attack and one defense")
        return cls(
            attacks=_choices("attack", ["none", *attacks]),
            defenses=_choices("defense", defenses),
            dataset=dataset,
            model=model,
            samples=samples,
            repeats=repeats,
            seed=seed,
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(range(self.seed, self.seed + self.repeats))

    def make_model(self, seed: int) -> Any:
        """Build the untrained model of one seed; a random_state in the spec is kept."""
        return registry.make("model", self.model, random_state=seed)

    def cells(self) -> list[Cell]:
        """Return the cells: run by run, attack by attack, defense by defense."""
        return [
            Cell(attack, defense, seed, (k, self.repeats))
            for k, seed in enumerate(self.seeds)
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
            "repeats": self.repeats,
            "seeds": list(self.seeds),
        }


def expanded(what: str, texts: Sequence[str]) -> list[str]:
    """Return every choice that the texts stand for.

    ``all`` stands for every registered one, and some names without brackets for several
    (`fastadv.grid.defaults.STANDS_FOR`).
    """
    names: list[str] = []
    for text in texts:
        names += [e.name for e in registry.entries(what)] if text == "all" else [text]
    return [one for name in names for one in defaults.STANDS_FOR.get(name, (name,))]


def _choices(what: str, texts: Sequence[str]) -> tuple[Choice, ...]:
    """Build each choice once; repeats are dropped."""
    chosen: dict[str, Choice] = {}
    for text in expanded(what, texts):
        choice = Choice(str(Spec.parse(text)), registry.make(what, text))
        chosen.setdefault(choice.canonical, choice)
    return tuple(chosen.values())
