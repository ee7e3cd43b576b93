"""``fastadv reproduce``: a paper's experiment, its figures and ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastadv.cli import console
from fastadv.files import make_folder
from fastadv.reproduce.papers import PAPERS, find


def _complete_paper(incomplete: str) -> list[str]:
    return [paper.name for paper in PAPERS if paper.name.startswith(incomplete)]


def reproduce(
    paper: Annotated[
        str | None,
        typer.Argument(
            metavar="PAPER",
            help="Without one: the papers that there are.",
            show_default=False,
            autocompletion=_complete_paper,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the numbers (JSON, Markdown) and pictures (PNG)."),
    ] = None,
) -> None:
    """Run a paper's experiment and print its figures beside ours."""
    if paper is None:
        _list()
        return
    chosen = find(paper)
    if output is not None:
        make_folder(output)
    from fastadv.cli.progress import GridBar, waiting

    messages = console.messages()
    with waiting(messages, "loading"):
        module, report = chosen.load(), chosen.load_report()
        from fastadv.warmup import warm_up
    if output is not None:
        report.check_pictures()
    bar = GridBar(messages)
    try:
        warm_up(bar.compiling, chosen.runs)
        outcome = module.run(bar.count)
    finally:
        bar.stop()
    out = console.output()
    out.print(report.table(outcome))
    out.print(report.drawing(outcome, color=console.shows_colors(out), width=out.width))
    if output is not None:
        names = report.save(outcome, output)
        console.say(f"{', '.join(names)} in {output}")


def _list() -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=Text("papers", style="bold"), title_justify="left")
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("paper")
    table.add_column("experiment")
    for paper in PAPERS:
        table.add_row(Text(paper.name), Text(paper.citation), Text(paper.experiment))
    console.output().print(table)
