"""``fastadv list``: what there is to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fastadv.errors import InputError
from fastadv.specs import closest

if TYPE_CHECKING:
    from rich.console import Console


SECTIONS = ("attacks", "defenses", "models", "datasets")

_DATASETS = [
    ("mnist", "shipped", "28 x 28 grey digits; 55,000 to train, 5,000 held out, 10,000 to test"),
    ("FOLDER", "yours", "a folder of four IDX files, named as MNIST's are (plain or .gz)"),
    (
        "FILE.npz",
        "yours",
        "x_train, y_train, x_test, y_test (and x_val, y_val); images (n, H, W) or (n, H, W, C), "
        "of uint8 or of floats in [0, 1]",
    ),
]
_DATASETS_NOTE = "Narrowed in brackets: mnist[classes=7-1,train=1000,val=500,test=500,split=0]"


def list_(
    section: Annotated[
        str | None,
        typer.Argument(metavar="[attacks|defenses|models|datasets]", show_default=False),
    ] = None,
) -> None:
    """List attacks, defenses, models and datasets."""
    from rich.text import Text

    from fastadv.cli import console
    from fastadv.grid.registry import REGISTRY

    out = console.output()
    if section is not None and section not in SECTIONS:
        hint = closest(section, SECTIONS)
        raise InputError(f"there is no list of {section!r}{hint} (known: {', '.join(SECTIONS)})")
    for chosen in SECTIONS if section is None else (section,):
        if chosen == "datasets":
            _print(out, chosen, _DATASETS)
            out.print(Text(f" {_DATASETS_NOTE}"))
        else:
            known = REGISTRY[chosen.removesuffix("s")]
            _print(out, chosen, [(entry.name, entry.kind, entry.summary) for entry in known])


def _print(out: Console, title: str, entries: list[tuple[str, str, str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=Text(title, style="bold"), title_justify="left")
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("kind", style="dim", no_wrap=True)
    table.add_column("what it is")
    for name, kind, summary in entries:
        table.add_row(Text(name), Text(kind), Text(summary))
    out.print(table)
