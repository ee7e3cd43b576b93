"""``fastadv report``: a grid's folder, shown again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastadv.cli import console
from fastadv.cli.gates import parse_share, stop_at
from fastadv.cli.grid_options import OUTPUT
from fastadv.cli.outputs import check_output
from fastadv.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastadv.grid.store import Row
    from fastadv.report.folder import GridFolder


class Format(StrEnum):
    """What to print."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


def report(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The --output of a grid."),
    ] = Path(OUTPUT),
    format: Annotated[
        Format | None,
        typer.Option(
            "--format", metavar="table|json|csv|markdown", help="What to print. Default: table"
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Write one page to look at, instead: table, notes, curves, images.",
        ),
    ] = None,
    fail_under: Annotated[
        str | None,
        typer.Option(
            metavar="X", help="Exit 1 if an accuracy under attack is below X: 75 or 75% or 0.75"
        ),
    ] = None,
) -> None:
    """Print the kept results of a grid, or make a page of them.

    The page stands alone: it loads nothing and runs no script. Attacks at several budgets
    (pgd[eps=0.1],pgd[eps=0.2]) are drawn as curves. --fail-under looks at every attack and worst
    case, and fails on a cell that has no figure because it failed or is not there.
    """
    floor = None if fail_under is None else parse_share(fail_under)
    if html is not None:
        if format is not None:
            raise InputError("give one of --html and --format: the page is written, not printed")
        check_output("--html", html, "page.html")
    from fastadv.grid.worst import worst_rows
    from fastadv.report.export import rows_csv, rows_json
    from fastadv.report.folder import read_folder

    found = read_folder(folder)
    for problem in found.problems:
        console.say(f"fastadv: {problem}")
    if html is not None:
        _write_page(found, folder, html)
    elif format is Format.json:
        console.print_text(rows_json(found.grid, found.rows, worst_rows(found.rows, folder)))
    elif format is Format.csv:
        console.print_text(rows_csv(found.rows))
    else:
        _print_table(folder, found.rows, format)
    if floor is not None:
        from fastadv.report.floor import below

        stop_at(below(found.grid, found.rows, folder, floor))


def _write_page(found: GridFolder, folder: Path, path: Path) -> None:
    from fastadv.files import atomic_write
    from fastadv.report.html import grid_html

    page = grid_html(found, folder).encode()
    with atomic_write(path) as stream:
        stream.write(page)
    console.say(f"page in {path}")


def _print_table(folder: Path, rows: Sequence[Row], format: Format | None) -> None:
    from fastadv.grid.worst import worst_rows
    from fastadv.report.markdown import grid_markdown
    from fastadv.report.table import grid_table

    worst = worst_rows(rows, folder)
    if format is Format.markdown:
        console.print_text(grid_markdown(rows, worst))
    else:
        console.output().print(grid_table(rows, worst))
