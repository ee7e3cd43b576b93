"""Rows of a table, where images would be drawn: what changed of them, in the units of the table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from fastadv import ColumnRules, Dataset, run_grid
from fastadv.cli.app import main
from fastadv.columns import Columns
from fastadv.grid.result import GridResult
from fastadv.report.changes import of_rows
from fastadv.report.changes_text import changes_text
from fastadv.report.gallery import pictures
from fastadv.report.html import grid_html
from fastadv.report.story import stories
from fastadv.report.story_view import StoryView

NAMES = ("age", "<pay>", "share", "rate")
COLUMNS = Columns(NAMES, (18, 1000, 0, 0), (98, 9000, 1, 1e-4), whole=(0,))
BEFORE = np.array([[0.5, 0.25, 0.5, 0.5], [0, 1, 1, 1]], dtype=np.float32)
AFTER = np.array([[0.475, 0.2501, 0.5, 0.9], [0, 1, 1, 1]], dtype=np.float32)


def test_values_are_those_of_the_table_with_the_digits_that_tell_them_apart() -> None:
    first, second = of_rows(COLUMNS.kept(), BEFORE, AFTER) or []
    assert [(c.name, c.before, c.after) for c in first.columns] == [
        ("rate", "0.0000500", "0.0000900"), ("age", "58", "56"), ("<pay>", "3,000", "3,001"),
    ]  # fmt: skip
    assert first.said == "3 of 4 columns changed"
    assert second.said == "none of 4 columns changed"
    assert second.columns == ()


@pytest.mark.parametrize("width", [40, 80])
def test_the_terminal_has_a_line_a_column(width: int) -> None:
    first, _ = of_rows(COLUMNS.kept(), BEFORE, AFTER) or []
    lines = changes_text("no → yes", first, width).plain.split("\n")
    assert lines[0] == "no → yes: 3 of 4 columns changed"
    assert lines[2].split()[:4] == ["age", "58", "→", "56"]
    assert max(map(cell_len, lines)) <= width
    assert ("○" in lines[1]) == (width == 80)


def test_a_name_is_one_line_without_control_characters() -> None:
    kept = {**COLUMNS.kept(), "column_names": np.array(["a", "b", "c", "x\x1b[2J\ny"])}
    first, _ = of_rows(kept, BEFORE, AFTER) or []
    assert first.columns[0].name == "x\\x1b[2J\\ny"
    assert len(changes_text("no", first, 80).plain.split("\n")) == 4


def test_columns_of_a_group_are_whole_numbers_too() -> None:
    columns = Columns(NAMES, (0, 0, 0, 0), (9, 1, 1, 1), whole=(0,), one_hot=((1, 2),))
    assert columns.kept()["column_whole"].tolist() == [True, True, True, False]


def test_what_does_not_fit_is_not_shown() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        of_rows(COLUMNS.kept(), BEFORE[:, :3], AFTER)
    assert of_rows({}, BEFORE, AFTER) is None


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> GridResult:
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=200), rng.integers(0, 40, 200), rng.normal(size=200)], axis=1)
    y = np.array(["<no>", "yes"])[(x[:, 0] + x[:, 2] > 0).astype(int)]
    data = Dataset.from_arrays(
        x, y, name="table", columns=ColumnRules(["<pay>", "age", "c"], fixed=["c"])
    )
    return run_grid(
        dataset=data, model="mlp[hidden_layer_sizes=8,max_iter=40,batch_size=16]", repeats=1,
        attacks="pgd[eps=0.3],square[queries=20,eps=0.3],biggio[points=2,steps=3]",
        defenses="none", samples=20, output=tmp_path_factory.mktemp("grid"),
    )  # fmt: skip


def row_of(grid: GridResult, attack: str) -> Any:
    return next(row for row in grid if row.attack.startswith(attack))


def test_rows_say_the_unit_of_their_budget_and_what_cannot_change(grid: GridResult) -> None:
    row = row_of(grid, "pgd")
    assert str(row.threat) == "linf(0.3 of range)"
    (note,) = [note for note in row.notes if note.name == "held_columns"]
    assert note.message == "1 of 3 columns cannot change within linf(0.3 of range) (fixed: c)"
    assert row_of(grid, "biggio").threat.unit == ""
    assert [case.threat for case in grid.worst] == [row.threat]
    frame = grid.table()
    (chunk,) = frame.chunks()
    assert chunk["threat_unit"].tolist() == ["none", "of range", "of range", "none"]


def test_the_table_and_the_page_say_it(
    grid: GridResult, capsys: pytest.CaptureFixture[str]
) -> None:
    page = grid_html(grid)
    assert "linf 0.3 of range" in page
    assert "What the attacks make of rows" in page
    assert "<img" not in page
    assert '<th scope="row">&lt;pay&gt;</th>' in page
    assert "<pay>" not in page
    assert grid.folder is not None
    for more in ([], ["--details"]):
        assert main(["report", str(grid.folder), *more]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "linf 0.3 of range" in out
        assert "udgets of range are in units of each column's range" in out
    for name in ("pgd linf 0.3", "pgd linf 0.3 of range"):
        gate = ["--fail-under", f"{name}/none=0"]
        assert main(["report", str(grid.folder), *gate]) in (0, 1)
        assert "names no cell" not in capsys.readouterr().err


@pytest.mark.parametrize("attack", ["pgd", "biggio"])
def test_a_story_tells_what_changed(grid: GridResult, attack: str) -> None:
    shown = pictures(row_of(grid, attack), grid.samples(row_of(grid, attack)) or {})
    assert shown
    assert all(picture.changes is not None for picture in shown)
    stream = io.StringIO()
    (told,) = stories(grid, f"{attack}/none", "--cell")
    Console(file=stream, width=80).print(StoryView(told, blocks=False))
    text = stream.getvalue()
    assert "of 3 columns changed" in text
    assert "<pay>" in text
    assert "age" in text
    assert not any(line.strip().startswith("c  ") for line in text.splitlines()), "it is fixed"


@pytest.mark.compiled
def test_attack_prints_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    x, k = rng.normal(size=(120, 2)), rng.integers(0, 9, 120)
    lines = ["a,b,n,label", *(f"{a},{b},{m},{int(a > 0)}" for (a, b), m in zip(x, k, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    given = ["--dataset", str(tmp_path / "t.csv"), "--show", "2", "--samples", "10"]
    for attack in ("pgd[eps=0.3]", "label_flip", "biggio[points=2,steps=2]"):
        assert main(["attack", attack, *given]) == 0
        out = capsys.readouterr().out
        assert out.count("of 3 columns changed") == 2, attack
    assert main(["attack", "pgd[eps=0.3]", *given]) == 0
    assert "accuracy under linf(0.3 of range)" in capsys.readouterr().out
