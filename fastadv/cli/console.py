"""The two streams: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fastadv.visible import visible

WIDTH_IN_FILES = 100


class _Console(Console):
    """A console that shows the control characters of a text: names may be from files."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                text = "\n".join(map(visible, segment.text.split("\n")))
                yield Segment(text, segment.style)
            else:
                yield segment


def output() -> Console:
    """Return the console of results."""
    return _console(stderr=False)


def messages() -> Console:
    """Return the console of progress, notes and errors."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return _Console(
        stderr=stderr,
        width=None if terminal else WIDTH_IN_FILES,
        force_interactive=None if terminal else False,  # FORCE_COLOR asks for colour, not for bars
        highlight=False,
        markup=False,
        emoji=False,
    )


def shows_colors(console: Console) -> bool:
    """Return whether a picture of coloured blocks can be seen there."""
    return not console.no_color and console.color_system in ("truecolor", "256")


def print_text(text: str) -> None:
    """Write text to standard output as it is, unwrapped: for other programs to read."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def say(text: str) -> None:
    """Write one line to standard error, unwrapped; names in it may be from files."""
    print(visible(" ".join(text.split())), file=sys.stderr, flush=True)
