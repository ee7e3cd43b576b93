"""The table on Fashion-MNIST that is kept is of the rows beside it."""

from __future__ import annotations

import csv
from pathlib import Path

KEPT = Path(__file__).parents[2] / "results" / "fashion-mnist"


def test_each_figure_of_the_table_is_a_row() -> None:
    table = (KEPT / "table.txt").read_text()
    with (KEPT / "rows.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 30
    for row in rows:
        assert row["status"] == "ok"
        assert int(row["n_runs"]) == 5
        name = "accuracy_lost" if row["kind"] == "poisoning" else "attacked_accuracy"
        value, low, high = (100 * float(row[name + end]) for end in ("", "_low", "_high"))
        shown = f"{value:.1f}±{(high - low) / 2:.1f}"
        assert shown in table, f"{row['attack']} / {row['defense']}"
