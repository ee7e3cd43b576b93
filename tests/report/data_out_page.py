"""The tables of docs/guide/data-out.md, from the columns; run it to write them anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastadv.grid.tidy import CELLS, Column
from fastadv.grid.tidy_samples import SAMPLES

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "data-out.md"
TABLES = {"cells": CELLS, "samples": SAMPLES}


def table(columns: Sequence[Column[Any]]) -> str:
    """The columns as a table in Markdown."""
    lines = ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning} |" for c in columns]
    return "\n".join(lines)


def written(text: str) -> str:
    """The page with its tables as the columns have them."""
    for name, columns in TABLES.items():
        head, begin, rest = text.partition(f"<!-- columns of {name} -->\n")
        _, end, tail = rest.partition(f"\n<!-- end of {name} -->")
        assert end, name
        text = head + begin + table(columns) + end + tail
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
