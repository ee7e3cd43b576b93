"""docs/guide/data-out.md has the columns as they are."""

from __future__ import annotations

import data_out_page

from fastadv.grid.row import SCHEMA
from fastadv.grid.tidy import CELLS
from fastadv.grid.tidy_samples import SAMPLES


def test_the_page_has_the_columns_as_they_are() -> None:
    """``python tests/report/data_out_page.py`` writes them anew."""
    text = data_out_page.PAGE.read_text(encoding="utf-8")
    assert text == data_out_page.written(text)
    assert f"| `schema` | {SCHEMA}, " in text


def test_columns_are_documented() -> None:
    for column in (*CELLS, *SAMPLES):
        assert column.meaning
        assert (column.dtype == "float64") <= bool(column.unit)
        assert "|" not in column.meaning + column.unit
