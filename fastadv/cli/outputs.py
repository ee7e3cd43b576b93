"""Files that a command is told to write."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from fastadv.errors import InputError

PICTURES = (".svg", ".png", ".pdf")


def check_output(option: str, path: Path, example: str) -> None:
    """Raise InputError, before any work, unless a file can be put there."""
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; give the name of a file, such as {example}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}")


def check_plot(path: Path, kinds: Sequence[str] = PICTURES) -> None:
    """Raise InputError unless the name of a picture ends in one of ``kinds``."""
    if path.suffix not in kinds:
        one_of = "one of " if len(kinds) > 1 else ""
        raise InputError(f"--plot {path}: the name has to end in {one_of}{', '.join(kinds)}")


def check_matplotlib(otherwise: str = "") -> None:
    """Raise InputError, before any work, unless matplotlib is there to draw with."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(f"--plot needs matplotlib: pip install matplotlib{otherwise}")
