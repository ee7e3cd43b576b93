"""What makes a command exit with 1 although it has done its work."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from fastadv.cli import console
from fastadv.cli.errors import FAILED
from fastadv.errors import InputError


def parse_share(text: str) -> float:
    """Return the share that ``75``, ``75%`` or ``0.75`` means; up to 1 a bare number is a share.

    Raises
    ------
    InputError
        If it is none between 0 and 1.
    """
    bare = text.strip().removesuffix("%").strip()
    try:
        value = float(bare)
    except ValueError:
        value = -1.0
    share = value if value <= 1 and "%" not in text else value / 100
    if not 0 <= share <= 1:
        raise InputError(f"--fail-under is an accuracy such as 75, 75% or 0.75, got {text!r}")
    return share


def stop_at(failures: Sequence[str]) -> None:
    """Say each failure in a line; exit with 1 if there is any."""
    for line in failures:
        console.say(f"fastadv: {line}")
    if failures:
        raise typer.Exit(FAILED)
