"""Files that a command is told to write."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fastadv.errors import InputError

_PICTURES = (".png", ".pdf", ".svg")


def check_output(option: str, path: Path, example: str) -> None:
    """Raise InputError, before any work, unless a file can be put there."""
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; give the name of a file, such as {example}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}")


def check_plot(path: Path) -> None:
    """Raise InputError if no picture can be drawn into the file ``path``."""
    if path.suffix not in _PICTURES:
        raise InputError(f"--plot {path}: the name has to end in one of {', '.join(_PICTURES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib: pip install 'fastadv[plot]'")
