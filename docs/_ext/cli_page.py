"""The reference of the command line: what ``--help`` prints of each command, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from sphinx.application import Sphinx

from fastadv.cli.app import app as program

PAGE = Path(__file__).resolve().parents[1] / "cli.md"
_HEAD = """# Command line

What `--help` says of each command. The exit code is 0 where all went well, 1 where a gate or a
cell has failed, 2 where what was asked for makes no sense, and 130 after Ctrl-C.
"""


def helps(command: Any, name: str, above: Any = None) -> Iterator[tuple[str, str]]:
    """Yield the name and the help of a command and of all below it."""
    context = command.context_class(
        command, info_name=name, parent=above, terminal_width=80, **command.context_settings
    )
    yield context.command_path, command.get_help(context)
    for below, each in getattr(command, "commands", {}).items():
        yield from helps(each, below, context)


def write(_app: Sphinx) -> None:
    """Write the page."""
    sections = [
        f"## {name}\n\n```text\n{text}\n```\n"
        for name, text in helps(typer.main.get_command(program), "fastadv")
    ]
    text = "\n".join([_HEAD, *sections])
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the page before any source is read."""
    app.connect("builder-inited", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
