"""What makes a command exit with 1 although it has done its work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from fastadv.cli import console
from fastadv.cli.errors import FAILED

FailUnder = Annotated[
    str | None,
    typer.Option(
        "--fail-under",
        metavar="X",
        help="Exit 1 if a cell's accuracy is lower, or flagged: 75% for all cells, "
        '"pgd/median=80%,backdoor/*=5%" for those, or FILE.toml with such lines.',
    ),
]
AllowFlagged = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-flagged",
        metavar="CELL",
        help="A cell, such as pgd/bit_depth or */bit_depth, whose flags --fail-under passes over; "
        "may be given several times.",
    ),
]


def stop_at(failures: Sequence[str]) -> None:
    """Say each failure in a line; exit with 1 if there is any."""
    for line in failures:
        console.say(f"fastadv: {line}")
    if failures:
        raise typer.Exit(FAILED)
