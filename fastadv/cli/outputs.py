"""Files that a command is told to write."""

from __future__ import annotations

from pathlib import Path

from fastadv.errors import InputError


def check_output(option: str, path: Path, example: str) -> None:
    """Raise InputError, before any work, unless a file can be put there."""
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; give the name of a file, such as {example}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}")
