"""What cells are called: in a line of the table, and in full what a user writes in short."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fastadv import capabilities, registry
from fastadv.errors import InputError
from fastadv.grid.cell import expanded
from fastadv.grid.row import Row
from fastadv.grid.trust.rows import attack_and_budget
from fastadv.report.patterns import CLEAN, WORST, Cell, Pattern

if TYPE_CHECKING:
    from fastadv.threat import Threat


OF_RANGE = "budgets of range are in units of each column's range, which data show prints"

# -- in the table ---------------------------------------------------------------------------


def short_names(rows: Sequence[Row]) -> dict[str, str]:
    """Return for each attack its name, with what tells it from others of that name.

    The budget stands beside it; of the parameters that are not the same, a switch that is off
    is not named.
    """
    attacks = {row.attack: row for row in rows}
    names = {}
    for attack, row in attacks.items():
        base = attack.partition("[")[0]
        alike = [r for a, r in attacks.items() if a.partition("[")[0] == base]
        differ = _differing(row, alike)
        names[attack] = " ".join([base, *differ]) if len(alike) > 1 else base
    shown = [(name, str(attacks[attack].threat)) for attack, name in names.items()]
    return {
        attack: name if shown.count((name, str(attacks[attack].threat))) == 1 else attack
        for attack, name in names.items()
    }


def _differing(row: Row, alike: Sequence[Row]) -> list[str]:
    own = row.parameters.get("attack", {})
    if any(attack_and_budget(r) is None for r in alike if r.kind != "none"):
        return []
    said = []
    for name, value in own.items():
        values = [r.parameters.get("attack", {}).get(name) for r in alike]
        if all(other == value for other in values) or value is False:
            continue
        if value is not True and row.threat is not None and value in row.threat.printed:
            continue  # the budget
        said.append(name if value is True else f"{name}={value}")
    return said


def words(threat: Threat | None) -> str:
    """Return a threat as the table prints it: ``linf 0.1``; nothing of none."""
    if threat is None:
        return ""
    limits = ",".join(f"{limit:g}" for limit in threat.printed)
    return f"{threat.kind.replace('_', '+')} {limits} {threat.unit}".strip()


def said_with(name: str, threat: Threat | None) -> list[str]:
    """Return how an attack is called with its budget: in the units of images, and of columns."""
    if threat is None:
        return []
    forms = (replace(threat, unit=""), threat, threat.of_columns())
    return [f"{name} {words(form)}" for form in forms]


# -- as a user writes it --------------------------------------------------------------------


class Names:
    """The cells of a grid, by all the words that name them.

    An attack is named by its spec, in whatever order its parameters stand, and by what is shorter
    where no other attack has it: its name without brackets, and what the table calls it, with its
    budget or without.

    Parameters
    ----------
    cells : iterable of (str, str)
    rows : sequence of Row
        Of one dataset and model or of several; what the table calls their attacks.
    """

    def __init__(self, cells: Iterable[Cell], rows: Sequence[Row] = ()) -> None:
        self.cells = tuple(dict.fromkeys(cells))
        self.attacks = tuple(dict.fromkeys(attack for attack, _ in self.cells))
        self.defenses = tuple(dict.fromkeys(defense for _, defense in self.cells))
        self._short: dict[str, dict[str, None]] = {}  # the attacks that a short form could mean
        for attack in self.attacks:
            self._short.setdefault(attack.partition("[")[0], {})[attack] = None
        attacked = [row for row in rows if row.kind != "none"]
        names = short_names(attacked)
        for row in attacked:
            name = names[row.attack]
            for form in (name, *said_with(name, row.threat)):
                self._short.setdefault(form, {})[row.attack] = None

    def meant(self, pattern: Pattern, where: str) -> Pattern:
        """Return a pattern with the attack in full that it names in short.

        Raises
        ------
        InputError
            If it names no cell, or could mean several attacks; ``where`` is what it names.
        """
        attacks = [pattern.attack] if self._named(pattern) else [*self._meant(pattern.attack)]
        found = [full for a in attacks if self._named(full := replace(pattern, attack=a))]
        if len(found) > 1:
            names = " or ".join(map(str, found))
            raise InputError(f"{where}: {pattern} could be {names}; write one of them")
        if not found:
            raise InputError(f"{where}: {pattern} names no cell{self._hint(pattern)}")
        return found[0]

    def _named(self, pattern: Pattern) -> bool:
        return any(pattern.names(*cell) for cell in self.cells)

    def _meant(self, attack: str) -> Iterable[str]:
        return self._short.get(" ".join(attack.split()), ())

    def _hint(self, pattern: Pattern) -> str:
        """Return the cells with the nearest names; all attacks and defenses if none is near."""
        attacks = _nearest(pattern.attack, [*self.attacks, *self._short])
        defenses = _nearest(pattern.defense, self.defenses)
        near = [Pattern(*pair) for pair in itertools.product(attacks, defenses)]
        if near:
            return f"; did you mean {' or '.join(map(str, near))}?"
        return f" (attacks: {', '.join(self.attacks)}; defenses: {', '.join(self.defenses)})"


def names_before(attacks: Sequence[str], defenses: Sequence[str]) -> Names:
    """Return the names of the cells that these specs ask for, before they are run."""
    texts = expanded("attack", attacks)
    cells = itertools.product([CLEAN, WORST, *texts], expanded("defense", defenses))
    return Names(cells, [_asked(text) for text in texts if text != CLEAN])


def _asked(attack: str) -> Row:
    """Return a row with what a spec says of an attack."""
    made = registry.make("attack", attack)
    return Row(
        id="", dataset="", model="", attack=attack, defense="", seed=0,
        kind=capabilities.kind_of(made), threat=made.threat(),
        parameters={"attack": registry.parameters(made)},
    )  # fmt: skip


def _nearest(word: str, known: Sequence[str]) -> list[str]:
    """Return the word if it is known, else up to two that are like it, in any case."""
    if word == "*" or word in known:
        return [word]
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=2, cutoff=0.5)
    return [by_lower[match] for match in matches]
