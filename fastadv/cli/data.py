"""``fastadv data``: look at data, fetch public ones, check those that ship with the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastadv.cli import console
from fastadv.cli.errors import FAILED

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from fastadv.datasets.fetch import Progress

app = typer.Typer(help="Look at data, fetch public data sets, check those that ship with fastadv.")

FETCHED = "fashion_mnist, kmnist, emnist, qmnist, usps or cifar10"


@app.command()
def show(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="A name or a path, as of --dataset.", show_default=False
        ),
    ],
    n_images: Annotated[
        int,
        typer.Option("--images", metavar="K", min=0, help="Draw an image of each of K classes."),
    ] = 5,
) -> None:
    """Show what a data set holds: shape, classes, range, duplicates, some images."""
    from fastadv.datasets import load_dataset
    from fastadv.report.data_table import data_images, data_table

    data = load_dataset(dataset)
    out = console.output()
    out.print(data_table(data))
    if n_images and data.task.columns is None:
        out.print(data_images(data, n_images, color=console.shows_colors(out), width=out.width))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{FETCHED}.", show_default=False)],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where to keep it, in place of $FASTADV_DATA or the user's cache.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="For each 16 kB, before a mirror is left."),
    ] = 30.0,
) -> None:
    """Fetch a public data set, each file as it was published (needs pooch)."""
    from fastadv.datasets.fetch import fetch as fetch_files
    from fastadv.datasets.published import FOLDER_VARIABLE, data_folder, find
    from fastadv.files import in_home

    weak = [file.name for file in find(name).files if not file.checksum.startswith("sha256:")]
    if weak:
        console.say(f"{name}: its files are known by MD5 alone, which finds damage but no forgery")
    with _bar() as progress:
        paths = fetch_files(name, to, timeout=timeout, progress=progress)
    for path in paths:
        console.print_text(str(path))
    if to is not None and in_home(to).absolute() != data_folder().absolute():
        console.say(f"{FOLDER_VARIABLE}={to} lets fastadv find it there: --dataset {name}")


@app.command()
def verify() -> None:
    """Check the shipped MNIST files by their SHA-256."""
    from fastadv.datasets import verify_mnist

    checks = verify_mnist()
    for check in checks:
        if check.ok:
            console.print_text(f"ok       {check.path.name}")
        elif check.found is None:
            console.print_text(f"missing  {check.path}")
        else:
            console.print_text(
                f"wrong    {check.path}: SHA-256 is {check.found}, has to be {check.expected}"
            )
    wrong = sum(not check.ok for check in checks)
    if wrong:
        console.say(f"fastadv: {wrong} of {len(checks)} files are not right; install fastadv again")
        raise typer.Exit(FAILED)


@app.command()
def path() -> None:
    """Print the folder of the MNIST files."""
    from fastadv.datasets import mnist_folder

    console.print_text(str(mnist_folder()))


@contextmanager
def _bar() -> Iterator[Progress]:
    """Show how far a file is: a bar on a terminal, a line for each file elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn
    from rich.progress import Progress as Bar

    messages = console.messages()
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )
    with bar:
        yield _Files(bar, in_lines=not messages.is_terminal)


class _Files:
    """One file after the other; see ``fastadv.datasets.fetch.Progress``."""

    def __init__(self, bar: Bar, *, in_lines: bool) -> None:
        self._bar, self._in_lines = bar, in_lines
        self._task = bar.add_task("", visible=False)

    def begin(self, file: str, total: int) -> None:
        """Show another file."""
        if self._in_lines:
            console.say(f"fetching {file}")
        self._bar.reset(self._task, total=total or None, description=file, visible=True)

    def advance(self, n_bytes: int) -> None:
        """Show more of it."""
        self._bar.advance(self._task, n_bytes)
