"""``fastadv data``: the data files that ship with the package."""

from __future__ import annotations

import typer

from fastadv.cli import console
from fastadv.cli.errors import FAILED

app = typer.Typer(help="Check or find the data files that ship with the package.")


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
