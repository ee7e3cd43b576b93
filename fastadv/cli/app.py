"""The program ``fastadv``: its commands, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer

import fastadv
from fastadv.cli import console, data
from fastadv.cli.attack import attack
from fastadv.cli.bench import bench
from fastadv.cli.compare import compare
from fastadv.cli.errors import FAILED, INTERRUPTED, explain
from fastadv.cli.grid import grid
from fastadv.cli.list import list_
from fastadv.cli.report import report
from fastadv.cli.reproduce import reproduce
from fastadv.cli.signals import Signals
from fastadv.cli.status import status
from fastadv.cli.warmup import warmup
from fastadv.errors import warnings_in_a_line

app = typer.Typer(
    name="fastadv",
    help="Training-time and test-time attacks against defenses, as one grid, on a CPU, in seconds.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(grid)
app.command()(attack)
app.command()(bench)
app.command()(report)
app.command()(status)
app.command()(compare)
app.command()(reproduce)
app.command("list")(list_)
app.add_typer(data.app, name="data")
app.command()(warmup)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print_text(f"fastadv {fastadv.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    debug: Annotated[  # noqa: ARG001 - main() takes it, wherever it stands
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Training-time and test-time attacks against defenses, as one grid, on a CPU, in seconds."""
    if context.invoked_subcommand is None:
        console.print_text(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, with the arguments of the process unless given; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    _accept_any_text()
    signals = Signals()
    with redirect_stderr(cast(TextIO, _Lossy(sys.stderr))), signals.handled():
        code = _run(given)
    for stream in (sys.stdout, sys.stderr):
        _drop_unwritten(stream)
    return signals.exit_code or code


def _run(given: Sequence[str]) -> int:
    """Run the program and return its exit code; an error is a line on standard error."""
    try:
        words = [word for word in given if word != "--debug"]
        with warnings_in_a_line():
            code = app(words, "fastadv", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # ``| head``
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if "--debug" in given:
            traceback.print_exc()
        line, code = explain(error, given)
        console.say(f"fastadv: {line}")
        return code
    if code == INTERRUPTED:
        console.say("fastadv: stopped")
    return code if isinstance(code, int) else 0


def _open_closed_streams() -> None:
    """Put the null device where a standard stream is closed (``2>&-``): nobody wants what it gets.

    Left closed, its number would go to the next file that is opened, and messages into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)
        setattr(sys, name, Path(os.devnull).open("r" if number == 0 else "w"))  # noqa: SIM115


def _accept_any_text() -> None:
    """Let a stream that cannot show a character show a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _drop_unwritten(stream: TextIO) -> None:
    """Drop what a stream holds and cannot write: Python would try again, and end with code 120."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class _Lossy:
    """A stream whose text is lost where it cannot be written (a full disk): the work goes on.

    Not where nobody reads it any more: ``2>&1 | head`` ends a program.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)

        def or_lost(*text: str) -> object:
            try:
                return found(*text)
            except BrokenPipeError:
                raise
            except OSError:
                return None

        return or_lost if name in ("write", "flush") else found
