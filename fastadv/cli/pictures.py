"""What ``--plot`` asks for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fastadv.errors import InputError

_SUFFIXES = (".png", ".pdf", ".svg")


def check_plot(path: Path) -> None:
    """Raise InputError if no picture can be drawn into the file ``path``."""
    if path.suffix not in _SUFFIXES:
        raise InputError(f"--plot {path}: the name has to end in one of {', '.join(_SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib: pip install 'fastadv[plot]'")
