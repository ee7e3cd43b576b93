"""What README shows of a grid: its table as text and as a picture, and a row of stadv.

``python tests/readme/front_page.py`` makes them anew, as ``make readme`` does, from the grid that is
kept beside this file. With a DIR it keeps the grid of that folder first: its rows as they are and,
of the samples, what the table needs.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from fastadv.cli import console
from fastadv.cli.app import main

KEPT = Path(__file__).with_name("grid.tar.xz")
ROOT = Path(__file__).parents[2]
README, IMAGES = ROOT / "README.md", ROOT / "docs" / "images"
HEADING = "\n## What it prints\n"
# What stars, intervals and the verdict are made of.
ARRAYS = ("sample_ids", "y", "clean", "robust", "baseline")


def keep(folder: Path) -> None:
    """Keep the grid of a folder."""
    with tarfile.open(KEPT, "w:xz") as archive:
        _add(archive, "grid.json", (folder / "grid.json").read_bytes())
        for row in sorted((folder / "cells").glob("*.json")):
            samples = row.with_suffix(".npz")
            _add(archive, f"cells/{samples.name}", _needed(samples))
            _add(archive, f"cells/{row.name}", row.read_bytes())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(f"grid/{name}")
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _needed(path: Path) -> bytes:
    """Return the arrays that are needed, uncompressed: what cells have in common shrinks later."""
    stream = io.BytesIO()
    with np.load(path, allow_pickle=False) as arrays:
        np.savez(stream, **{name: arrays[name] for name in ARRAYS if name in arrays})
    return stream.getvalue()


def unpack(folder: Path) -> Path:
    """Put the kept grid into a folder; return where ``fastadv report`` finds it."""
    with tarfile.open(KEPT) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4
        archive.extractall(folder)
    return folder / "grid"


def printed(grid: Path) -> str:
    """Return what ``fastadv report`` prints in 80 columns."""
    width, console.WIDTH_IN_FILES = console.WIDTH_IN_FILES, 80
    try:
        with redirect_stdout(io.StringIO()) as stream:
            assert main(["report", str(grid)]) == 0
    finally:
        console.WIDTH_IN_FILES = width
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def shown(readme: str) -> tuple[str, str, str]:
    """Return README up to the table, the table, and the rest."""
    before, heading, after = readme.partition(HEADING)
    prose, fence, rest = after.partition("```\n")
    table, closing, rest = rest.partition("```\n")
    if not (heading and fence and closing):
        raise ValueError(f"README has no table below{HEADING}")
    return before + heading + prose + fence, table, closing + rest


def make(grid: Path) -> None:
    """Write the table into README, and draw both pictures."""
    before, _, after = shown(README.read_text(encoding="utf-8"))
    README.write_text(before + printed(grid) + after, encoding="utf-8")
    assert main(["report", str(grid), "--plot", str(IMAGES / "table.svg")]) == 0
    drawn = str(IMAGES / "stadv.svg")
    assert main(["attack", "stadv", "--samples", "100", "--show", "1", "--plot", drawn]) == 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as made:
        make(unpack(Path(made)))
