"""What other packages bring, by entry points of the groups in `GROUPS`.

An entry point names a class or, for a data set, a function. What cannot be used is left out with
a warning; a name that is ours stays ours, and of two packages the first by name keeps it.
"""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fastadv.entry import Entry, Kind
from fastadv.errors import InputError

GROUPS = {
    "attack": "fastadv.attacks", "defense": "fastadv.defenses", "model": "fastadv.models",
    "dataset": "fastadv.datasets",
}  # fmt: skip

# A class is of the first kind of which it has a method.
_METHODS: dict[str, list[tuple[Kind, tuple[str, ...]]]] = {
    "attack": [("poisoning", ("poison",)), ("evasion", ("perturb",))],
    "defense": [
        ("certified", ("certify",)), ("sanitizer", ("sanitize", "screen")), ("training", ("fit",)),
        ("preprocessor", ("wrap",)),
    ],
    "model": [("model", ("fit",))],
}  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RESERVED = {"all", "worst"}  # every name; the worst case in a table


def entry_points_of(what: str, taken: frozenset[str]) -> dict[str, EntryPoint]:
    """Return the entry points of a kind by name; nothing is imported.

    Parameters
    ----------
    what : {"attack", "defense", "model", "dataset"}
    taken : frozenset of str
        The names of ours.
    """
    points, left_out = _read(what, taken)
    for text in left_out:
        warnings.warn(text, stacklevel=3)
    return points


@functools.cache
def _read(what: str, taken: frozenset[str]) -> tuple[dict[str, EntryPoint], list[str]]:
    points: dict[str, EntryPoint] = {}
    left_out = []
    for point in sorted(entry_points(group=GROUPS[what]), key=lambda p: (origin_of(p), p.name)):
        reason = ""
        if not _NAME.fullmatch(point.name) or point.name in _RESERVED:
            reason = f"a name is letters, digits, - and _, and not {' or '.join(sorted(_RESERVED))}"
        elif point.name in taken:
            reason = "fastadv has one of that name"
        elif point.name in points:
            reason = f"{origin_of(points[point.name])} has one of that name"
        else:
            points[point.name] = point
        if reason:
            left_out.append(_left_out(what, point, reason))
    return points, left_out


def usable(what: str, taken: frozenset[str]) -> list[Entry]:
    """Return an entry for all that can be imported, with a warning for each that cannot."""
    entries = []
    for point in entry_points_of(what, taken).values():
        try:
            entries.append(entry_of(what, point))
        except InputError as error:
            warnings.warn(str(error), stacklevel=3)
    return entries


def entry_of(what: str, point: EntryPoint) -> Entry:
    """Import what an entry point names and return its entry.

    Raises
    ------
    InputError
        If it cannot be imported, or is not what the group is for.
    """
    try:
        brought = point.load()
    except (Exception, SystemExit) as error:  # whatever a package does when it is imported
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(_left_out(what, point, text)) from None
    kind, reason = _kind_of(what, brought)
    named = getattr(brought, "name", point.name) if what in ("attack", "defense") else point.name
    if kind is not None and named != point.name:
        reason = f"its class says name = {named!r}"
    if kind is None or reason:
        raise InputError(_left_out(what, point, reason))
    nested = dict(getattr(brought, "nested", {})) if isinstance(brought, type) else {}
    return Entry(
        point.name, kind, _summary_of(brought), f"{point.module}:{point.attr}", nested,
        origin=origin_of(point),
    )  # fmt: skip


def origin_of(point: EntryPoint) -> str:
    """Return the name of the distribution that brings an entry point."""
    return point.dist.name if point.dist else point.module.partition(".")[0]


def _kind_of(what: str, brought: Any) -> tuple[Kind | None, str]:
    """Return the kind, or why it is none."""
    if what == "dataset":
        return ("dataset", "") if callable(brought) else (None, "it names no function")
    if not isinstance(brought, type):
        return None, "it names no class"
    for kind, methods in _METHODS[what]:
        if any(callable(getattr(brought, method, None)) for method in methods):
            return kind, ""
    wanted = " or ".join(method for _, methods in _METHODS[what] for method in methods)
    return None, f"{brought.__name__} has no method {wanted}"


def _summary_of(brought: Any) -> str:
    """Return the first line of its docstring, without the full stop."""
    text = inspect.cleandoc(brought.__doc__ or "")
    made_up = text.startswith(f"{getattr(brought, '__name__', '')}(")  # by a dataclass without one
    return "" if made_up else text.partition("\n")[0].rstrip(".")


def _left_out(what: str, point: EntryPoint, reason: str) -> str:
    return f"the {what} {point.name!r} of {origin_of(point)} cannot be used: {reason}"
