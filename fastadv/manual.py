"""What a registered name takes: its parameters, their defaults, and what the docstring says."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

from fastadv.entry import Entry
from fastadv.registry import parameter_kinds
from fastadv.specs import describe, format_value


@dataclass(frozen=True)
class Parameter:
    """A parameter of a spec.

    Attributes
    ----------
    name : str
    default : str
        As it would be written in a spec.
    takes : str
        Its type in a user's words.
    text : str
        What the docstring says of it.
    """

    name: str
    default: str
    takes: str
    text: str


def parameters_of(entry: Entry) -> list[Parameter]:
    """Return what ``entry`` takes, in the order of its class; imports the class."""
    cls = entry.load()
    kinds, texts = parameter_kinds(cls), _documented(cls)
    found = []
    for name, given in inspect.signature(cls).parameters.items():
        if name not in kinds and name not in entry.nested:
            continue  # a spec cannot give it
        default = entry.nested.get(name) or format_value(given.default)
        takes = "an attack" if name in entry.nested else describe(kinds[name])
        found.append(Parameter(name, default, takes, texts.get(name, "")))
    return found


def reference_of(entry: Entry) -> str:
    """Return the paper that ``entry`` follows, or nothing; imports the class."""
    return str(getattr(entry.load(), "reference", ""))


def _documented(cls: Any) -> dict[str, str]:
    """Return the text of each parameter in a numpy docstring, in one line."""
    _, _, section = (inspect.getdoc(cls) or "").partition("\nParameters\n----------\n")
    section = re.split(r"\n\n\w+\n-+\n", section)[0]
    texts: dict[str, list[str]] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        for name in names:
            texts.setdefault(name, [])
            if line.startswith(" "):
                texts[name].append(line.strip())
    return {name: " ".join(lines).replace("``", "") for name, lines in texts.items()}
