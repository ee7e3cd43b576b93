"""``fastadv list``: what there is to choose from, and what each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fastadv.errors import InputError
from fastadv.specs import closest

if TYPE_CHECKING:
    from rich.console import Console

    from fastadv.registry import Entry


SECTIONS = ("attacks", "defenses", "models", "datasets")

_DATASETS = [
    ("mnist", "shipped", "28 x 28 grey digits; 55,000 to train, 5,000 held out, 10,000 to test"),
    (
        "FOLDER",
        "yours",
        "four IDX files, named as MNIST's, EMNIST's or QMNIST's are (plain or .gz); of several "
        "sets in one folder: FOLDER[prefix=emnist-letters]",
    ),
    (
        "FILE.npz",
        "yours",
        "x_train, y_train, x_test, y_test (and x_val, y_val); images (n, H, W), (n, H, W, C) or "
        "(n, C, H, W), of uint8 or of floats in [0, 1]; if that is not clear: "
        "FILE.npz[channels=first,range=255]",
    ),
]
_DATASETS_NOTE = "Narrowed in brackets: mnist[classes=7-1,train=1000,val=500,test=500,split=0]"


def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT",
            help="attacks, defenses, models or datasets; or a name, such as pgd: its parameters.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List what there is to choose from, or one's parameters."""
    from rich.text import Text

    from fastadv.cli import console
    from fastadv.registry import REGISTRY

    out = console.output()
    if what is not None and what not in SECTIONS:
        found = [(k, e) for k, known in REGISTRY.items() for e in known if e.name == what]
        if not found:
            names = [entry.name for known in REGISTRY.values() for entry in known]
            hint = closest(what, [*SECTIONS, *names])
            raise InputError(
                f"there is no {what!r} to list{hint} (known: {', '.join(SECTIONS)}, "
                "and every name in them)"
            )
        for role, entry in found:
            _print_parameters(out, role, entry)
        return
    for chosen in SECTIONS if what is None else (what,):
        if chosen == "datasets":
            _print(out, chosen, _DATASETS)
            out.print(Text(f" {_DATASETS_NOTE}\n"))
        else:
            known = REGISTRY[chosen.removesuffix("s")]
            _print(out, chosen, [(entry.name, entry.kind, entry.summary) for entry in known])
    if what in (None, "attacks", "defenses", "models"):
        out.print(Text(" The parameters of one, and its paper: fastadv list pgd"))


def _print_parameters(out: Console, role: str, entry: Entry) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fastadv.manual import parameters_of, reference_of

    parameters, reference = parameters_of(entry), reference_of(entry)
    kind = "" if entry.kind in ("none", role) else f", {entry.kind}"
    title = Text.assemble((entry.name, "bold"), f" ({role}{kind}): {entry.summary}")
    out.print(title)
    if reference:
        out.print(Text(reference))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("parameter", style="bold", no_wrap=True)
    table.add_column("default", overflow="fold", max_width=16)
    table.add_column("what it is")
    for parameter in parameters:
        meaning = Text.assemble((parameter.takes, "dim"), f". {parameter.text}".rstrip())
        table.add_row(Text(parameter.name), Text(parameter.default), meaning)
    if parameters:
        out.print(table)
        first = parameters[0]
        out.print(Text(f" Written in brackets: {entry.name}[{first.name}={first.default}]"))


def _print(out: Console, title: str, entries: list[tuple[str, str, str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=Text(title, style="bold"), title_justify="left")
    table.add_column("name", style="bold", no_wrap=True)
    kinds = len({kind for _, kind, _ in entries}) > 1
    if kinds:
        table.add_column("kind", style="dim", no_wrap=True)
    table.add_column("what it is")
    for name, kind, summary in entries:
        table.add_row(Text(name), *[Text(kind)] * kinds, Text(summary))
    out.print(table)
