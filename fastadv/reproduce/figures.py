"""What the reports of all papers share: figures in text, and files of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastadv.arrays import Float64
from fastadv.files import atomic_write, make_folder


def spread(values: Float64) -> str:
    """Return the mean over splits and the standard deviation between them."""
    return f"{values.mean():.1f} ± {values.std(ddof=1) if len(values) > 1 else 0.0:.1f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], marks: str) -> list[str]:
    """Return the lines of a table; ``marks`` say how the columns are aligned."""
    lines = [f"| {' | '.join(header)} |", marks]
    return [*lines, *(f"| {' | '.join(cell.strip() for cell in row)} |" for row in rows)]


def write(folder: Path, paper: str, document: dict[str, Any], markdown: Sequence[str]) -> list[str]:
    """Write a paper's numbers as JSON and Markdown; return the files' names.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """
    make_folder(folder)
    json_text = json.dumps({"schema": 1, "paper": paper, **document}, indent=1)
    texts = {f"{paper}.json": json_text, f"{paper}.md": "\n".join(markdown)}
    for name, text in texts.items():
        with atomic_write(folder / name) as stream:
            stream.write(f"{text}\n".encode())
    return list(texts)


def write_picture(figure: Any, path: Path) -> str:
    """Write a figure of matplotlib as PNG; return the file's name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with atomic_write(path) as stream:
        FigureCanvasAgg(figure).print_png(stream)
    return path.name
