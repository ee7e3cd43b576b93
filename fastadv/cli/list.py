"""``fastadv list``: what there is to choose from, and what each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fastadv.errors import InputError
from fastadv.specs import closest

if TYPE_CHECKING:
    from rich.console import Console

    from fastadv.entry import Entry


SECTIONS = ("attacks", "defenses", "models", "datasets")

_NARROWED = "Narrowed in brackets: mnist[classes=7-1,train=1000,val=500,test=500,split=0]"


def _complete(incomplete: str) -> list[str]:
    from fastadv.registry import REGISTRY, names

    known = [*SECTIONS, *(name for what in REGISTRY for name in names(what))]
    return [name for name in dict.fromkeys(known) if name.startswith(incomplete)]


def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT",
            help="attacks, defenses, models or datasets; or a name, such as pgd: its parameters.",
            show_default=False,
            autocompletion=_complete,
        ),
    ] = None,
) -> None:
    """List what there is to choose from, or one's parameters."""
    from rich.text import Text

    from fastadv.cli import console
    from fastadv.registry import REGISTRY, entries

    out = console.output()
    if what is not None and what not in SECTIONS:
        known = [(role, entry) for role in REGISTRY for entry in entries(role)]
        found = [(role, entry) for role, entry in known if entry.name == what]
        if not found:
            hint = closest(what, [*SECTIONS, *(entry.name for _, entry in known)])
            raise InputError(
                f"there is no {what!r} to list{hint} (known: {', '.join(SECTIONS)}, "
                "and every name in them)"
            )
        for role, entry in found:
            _print_parameters(out, role, entry)
        return
    for chosen in SECTIONS if what is None else (what,):
        _print(out, chosen, entries(chosen.removesuffix("s")))
        if chosen == "datasets":
            out.print(Text(f" {_NARROWED}\n"))
    out.print(Text(" The parameters of one, and its paper: fastadv list pgd"))


def _print_parameters(out: Console, role: str, entry: Entry) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fastadv.entry import OURS
    from fastadv.manual import parameters_of, reference_of

    parameters, reference = parameters_of(entry), reference_of(entry)
    kind = "" if entry.kind in ("none", role) else f", {entry.kind}"
    origin = "" if entry.origin == OURS else f", from {entry.origin}"
    title = Text.assemble((entry.name, "bold"), f" ({role}{kind}{origin}): {entry.summary}")
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


def _print(out: Console, title: str, entries: list[Entry]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fastadv.entry import OURS

    table = Table(box=box.SIMPLE_HEAD, title=Text(title, style="bold"), title_justify="left")
    table.add_column("name", style="bold", no_wrap=True)
    kinds = len({entry.kind for entry in entries}) > 1
    origins = any(entry.origin != OURS for entry in entries)
    if kinds:
        table.add_column("kind", style="dim", no_wrap=True)
    table.add_column("what it is")
    if origins:
        table.add_column("from", style="dim")
    for entry in entries:
        kind, origin = [Text(entry.kind)] * kinds, [Text(entry.origin)] * origins
        table.add_row(Text(entry.name), *kind, Text(entry.summary), *origin)
    out.print(table)
