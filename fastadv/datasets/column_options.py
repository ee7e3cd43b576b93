"""What is said of a table's columns in brackets: ``fixed=age+sex``, ``high=age:120``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from fastadv.columns import ColumnRules
from fastadv.errors import InputError
from fastadv.specs import closest, parse_number

FOUND = "found"  # whole numbers are looked for

Said = TypeVar("Said")


class ColumnOptions(NamedTuple):
    """The texts of a spec; names are joined by ``+``, as ``age+sex``.

    Attributes
    ----------
    drop, fixed : str or None
    whole : str
        ``found``, ``none``, or names.
    one_hot : str or None
        What the names of a group begin with, or its columns joined by ``|``.
    low, high : str or None
        ``NAME:NUMBER``.
    """

    drop: str | None = None
    fixed: str | None = None
    whole: str = FOUND
    one_hot: str | None = None
    low: str | None = None
    high: str | None = None

    def stated(self) -> list[str]:
        """Return which options there are, of those that are of columns that are no pixels."""
        default = ColumnOptions()._asdict()
        return [k for k, value in self._asdict().items() if k != "drop" and value != default[k]]

    def dropped(self, names: Sequence[str], where: str) -> list[str]:
        """Return the names of the columns that are left out."""
        return _names(self.drop, names, f"{where}: drop")

    def rules(self, names: Sequence[str], where: str) -> ColumnRules:
        """Return what is said of the columns of these names.

        Raises
        ------
        InputError
            If a name is none of them, or a number is none.
        """
        found = self.whole == FOUND and FOUND not in names
        none = self.whole == "none" and "none" not in names
        whole = None if found else [] if none else _names(self.whole, names, f"{where}: whole")
        return ColumnRules(
            names,
            fixed=_names(self.fixed, names, f"{where}: fixed"),
            whole=whole,
            one_hot=_groups(self.one_hot, names),
            low=dict(_numbers(self.low, names, f"{where}: low")),
            high=dict(_numbers(self.high, names, f"{where}: high")),
        )


def _parts(
    text: str, read: Callable[[str], Said | None], problem: Callable[[str], str]
) -> list[Said]:
    """Split at ``+`` into the longest parts that can be read: a name may have one, too.

    ``problem`` says what is wrong with a word with which none begins.
    """
    words, found = text.split("+"), []
    while words:
        for n in range(len(words), 0, -1):
            part = read("+".join(words[:n]).strip())
            if part is not None:
                break
        else:
            raise InputError(problem(words[0].strip()))
        found.append(part)
        del words[:n]
    return found


def _names(text: str | None, names: Sequence[str], where: str) -> list[str]:
    if text is None:
        return []
    return _parts(
        text,
        lambda part: part if part in names else None,
        lambda word: f"{where}: no column is called {word!r}{closest(word, names)}",
    )


def _groups(text: str | None, names: Sequence[str]) -> list[str | list[str]]:
    """Return the groups as `ColumnRules` has them, which says what is wrong with one."""
    if text is None:
        return []

    def read(part: str) -> str | list[str] | None:
        members = [name.strip() for name in part.split("|")]
        if len(members) > 1:
            return members if set(members) <= set(names) or "+" not in part else None
        begins = any(name.startswith((f"{part}=", f"{part}_")) for name in names)
        return part if begins or "+" not in part else None

    return _parts(text, read, str)  # of one word something is always read


def _numbers(text: str | None, names: Sequence[str], where: str) -> list[tuple[str, float]]:
    if text is None:
        return []

    def read(part: str) -> tuple[str, float] | None:
        name, _, number = part.rpartition(":")
        value = parse_number(number)
        known = name.strip() in names and value is not None
        return (name.strip(), float(value)) if known and value is not None else None

    says = f"{where} has to be NAME:NUMBER, joined by '+', got"
    return _parts(text, read, lambda word: f"{says} {word!r}")
