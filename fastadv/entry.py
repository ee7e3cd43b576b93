"""What is known of an attack, a defense, a model or a data set without importing it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

Kind = Literal[
    "evasion", "poisoning", "sanitizer", "training", "preprocessor", "certified", "none", "model",
    "dataset", "fetched", "path",
]  # fmt: skip

OURS = "fastadv"


@dataclass(frozen=True)
class Entry:
    """A name, and where to find what it stands for.

    Attributes
    ----------
    name, summary : str
        As printed by ``fastadv list``. The name of a reader is what its paths look like.
    kind : str
        An attack's ``evasion`` or ``poisoning``; a defense's ``certified`` if it certifies,
        else what it works on (``sanitizer``, ``training``, ``preprocessor``); ``model``;
        ``dataset``, ``fetched`` if it has to be fetched before, or ``path`` of a reader of files;
        ``none`` for the controls.
    target : str
        ``module:Class``; of a data set ``module:function``.
    nested : dict of str to str
        Parameters that are themselves attacks, with their default specs.
    reads : str
        ``module:function`` that says whether a path is one of this reader's; of readers alone.
    origin : str
        The distribution that brings it.
    """

    name: str
    kind: Kind
    summary: str
    target: str
    nested: dict[str, str] = field(default_factory=dict)
    reads: str = ""
    origin: str = OURS

    def load(self) -> Any:
        """Import and return the class, or the function."""
        return load(self.target)


def load(target: str) -> Any:
    """Import and return what ``module:name`` stands for."""
    module, _, name = target.partition(":")
    return attrgetter(name)(importlib.import_module(module))
