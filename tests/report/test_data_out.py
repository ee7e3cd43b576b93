"""Tidy tables: CSV, JSON lines, Parquet and frames of one definition, in every reader's types."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import NAMES, SCRIPT, TEXTS, hostile_grid
from hypothesis import given
from made_grids import cleaned, evaded, kept, poisoned
from made_rows import clean, evasion, figure, poisoning, result, undone

from fastadv.errors import InputError
from fastadv.grid.result import GridResult
from fastadv.grid.row import Certified, Flag, Run
from fastadv.grid.tidy import CELLS, Table
from fastadv.grid.tidy_samples import SAMPLES
from fastadv.report.export import as_text, rows_json, write_csv, write_lines, write_parquet
from fastadv.threat import poison, rotation_translation
from fastadv.visible import visible

FULL = poisoning(
    threat=rotation_translation(30, 3), benign_accuracy=0.9, success_rate=0.8,
    oblivious_accuracy=0.96, certified=Certified(poison(0.01), figure(0.5)),
    distances={"linf": 0.1}, poison={"points": 30.0, "fraction": 0.03},
    found={"region": "3 as 5"}, sanitized={"lost": 0.1, "caught": 0.5}, queries={"forward": 3.0},
    seconds={"fit": 1.5}, weights="w", flags=[Flag("a", "b", "c"), Flag("g", "h")],
    notes=[Flag("d", "e")], runs=[Run("p", 3, 10), Run("q", 4, 9)],
    parameters={"attack": {"points": None}},
)  # fmt: skip


def csv_of(table: Table) -> str:
    stream = io.StringIO()
    write_csv(table, stream)
    return stream.getvalue()


def lines_of(table: Table) -> list[dict[str, Any]]:
    stream = io.StringIO()
    write_lines(table, stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def cells(*rows: Any) -> GridResult:
    return GridResult(tuple(rows))


def mixed_grid(folder: Path) -> GridResult:
    """Every kind of cell; the table of images begins with more than polars looks at of none."""
    broken = evaded("fgsm", "none", 0.1, 2)
    for row, _ in broken:
        undone(row, "failed", "it broke")
    moved = evaded("pgd", "none", 0.4, 2)
    for row, arrays in moved:
        row.distances = {"l2": 1.5, "own": 2.0}
        arrays |= {
            "l2": np.full(row.n, 1.5),
            "own": np.full(row.n, 2.0),
            "is_adv": ~arrays["robust"],
        }
    return kept(
        folder, cleaned("none", 0.98, 2), moved, broken, poisoned("biggio", "none", 0.02, 0.01, 2)
    )


# -- one row a cell -------------------------------------------------------------------------


def test_the_columns_are_the_same_whatever_a_row_has() -> None:
    names = [column.name for column in CELLS]
    assert len(set(names)) == len(names)
    for rows in ((), (clean(),), (FULL, undone(clean(), "failed", "x"))):
        assert csv_of(cells(*rows).table()).splitlines()[0] == ",".join(names)


def test_a_row_that_has_everything() -> None:
    (row,) = lines_of(cells(FULL).table())
    assert FULL.attacked_accuracy is not None
    for name, value in {
        "attack": "biggio", "kind": "poisoning", "threat": "rotation_translation(30,3)",
        "threat_kind": "rotation_translation", "threat_budget": 1.0, "n_images": 10000, "n_runs": 2,
        "attacked_accuracy": 0.95, "attacked_accuracy_low": FULL.attacked_accuracy.low,
        "attacked_accuracy_high": FULL.attacked_accuracy.high, "attacked_accuracy_n_images": 10000,
        "certified_accuracy": 0.5, "certified_threat": "poison(0.01)", "distance_linf": 0.1,
        "distance_l2": None, "poison_points": 30.0, "sanitized_lost": 0.1, "queries_forward": 3.0,
        "seconds_fit": 1.5, "flagged": True, "flags": "a g", "notes": "d", "reason": "none",
        "found": '{"region":"3 as 5"}', "parameters": '{"attack":{"points":null}}',
    }.items():  # fmt: skip
        assert row[name] == value, name


def test_a_row_that_has_nothing() -> None:
    (row,) = lines_of(cells(undone(evasion(clean_accuracy=None), "failed", "x,\ny")).table())
    for name, value in {
        "status": "failed", "reason": "x,\ny", "n_images": 0, "n_runs": 0, "flagged": False,
        "attacked_accuracy": None, "attacked_accuracy_low": None, "attacked_accuracy_n_images": 0,
        "flags": "none", "certified_threat": "none", "poison_points": None,
    }.items():  # fmt: skip
        assert row[name] == value, name


def test_csv_says_the_same_as_json(tmp_path: Path) -> None:
    table = mixed_grid(tmp_path).table()
    for line, row in zip(csv.DictReader(io.StringIO(csv_of(table))), lines_of(table), strict=True):
        for name, value in row.items():
            text = value if isinstance(value, str) else json.dumps(value).replace("null", "NaN")
            assert line[name] == visible(text), name


def test_a_row_a_run_has_the_figures_of_that_run(tmp_path: Path) -> None:
    grid = mixed_grid(tmp_path)
    rows = lines_of(grid.table(runs=True))
    assert len(rows) == 8
    assert [row["seed"] for row in rows if row["kind"] == "poisoning"] == [0, 1]
    for row in rows:
        if row["kind"] == "poisoning":
            lost = row["clean_accuracy"] - row["attacked_accuracy"]
            assert row["accuracy_lost"] == pytest.approx(lost)
            assert row["accuracy_lost_low"] < lost < row["accuracy_lost_high"]
        assert row["n_runs"] == int(row["status"] == "ok")
    runs = [run.attacked_accuracy for run in grid[1].runs]
    assert [r["attacked_accuracy"] for r in rows if r["attack"] == "pgd"] == runs


# -- one row an image -----------------------------------------------------------------------


def test_the_images_of_a_cell_give_back_its_figures(tmp_path: Path) -> None:
    grid = mixed_grid(tmp_path)
    rows = lines_of(grid.table(samples=True))
    names = [column.name for column in SAMPLES]
    assert list(rows[0]) == [*names, "distance_own"]
    for cell in grid:
        own = [r for r in rows if (r["attack"], r["defense"]) == (cell.attack, cell.defense)]
        if cell.status != "ok":
            assert own == []
            continue
        assert cell.attacked_accuracy is not None
        assert np.mean([r["robust"] for r in own]) == pytest.approx(cell.attacked_accuracy.value)
        assert {r["seed"] for r in own} == {0, 1}
        if cell.kind == "poisoning":
            assert cell.baseline_accuracy is not None
            flips = np.mean([r["baseline_robust"] for r in own])
            assert flips == pytest.approx(cell.baseline_accuracy.value)
    images = {r["image"] for r in rows}
    assert images == {f"0x{number:016x}" for number in range(2000)}
    pgd = next(r for r in rows if r["attack"] == "pgd")
    assert (pgd["distance_l2"], pgd["distance_own"], pgd["distance_linf"]) == (1.5, 2.0, None)
    assert (pgd["triggered"], pgd["certified"], pgd["baseline_robust"]) == (-1, None, None)


def test_certificates_are_told_of_the_images_that_they_are_of(tmp_path: Path) -> None:
    """Rows of poison have those of evasion attacks' images, in their order."""
    attacked, trained = evaded("pgd", "interval", 0.4, 1), poisoned("biggio", "dpa", 0.02, None, 1)
    for _, arrays in (attacked[0], trained[0]):
        arrays["certified"] = arrays["y"] == 3
        arrays["certified_radius"] = arrays["y"] / 10
    rows = lines_of(kept(tmp_path, attacked, trained).table(samples=True))
    for row in rows:
        if row["kind"] == "poisoning":
            assert (row["certified"], row["certified_radius"]) == (None, None)
        else:
            assert row["certified"] == float(row["label"] == 3)
            assert row["certified_radius"] == row["label"] / 10


@pytest.mark.parametrize("damage", ["absent", "short", "text"])
def test_images_that_cannot_be_read_are_an_error(tmp_path: Path, damage: str) -> None:
    grid = mixed_grid(tmp_path)
    path = tmp_path / "cells" / f"{grid.runs[1].id}.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    if damage == "absent":
        path.unlink()
    else:
        arrays["y"] = arrays["y"][:5] if damage == "short" else arrays["y"].astype(str)
        np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"cells/.*npz cannot be read: the images of none/"):
        csv_of(grid.table(samples=True))


def test_without_a_folder_there_are_no_images() -> None:
    with pytest.raises(InputError, match="nothing is kept"):
        result([clean()]).table(samples=True)
    with pytest.raises(InputError, match="runs or samples"):
        result([clean()]).table(samples=True, runs=True)


def test_images_are_read_a_run_at_a_time(tmp_path: Path) -> None:
    chunks = mixed_grid(tmp_path).table(samples=True).chunks()
    assert len(next(chunks)["image"]) == 2000
    for path in (tmp_path / "cells").glob("*.npz"):
        path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        next(chunks)


# -- readers --------------------------------------------------------------------------------

PANDAS = {"string": ("str", "object"), "int64": ("int64",), "float64": ("float64",), "bool": ("bool",)}  # fmt: skip
POLARS = {"string": "String", "int64": "Int64", "float64": "Float64", "bool": "Boolean"}
WHICH: list[dict[str, bool]] = [{}, {"runs": True}, {"samples": True}]


def assert_types(frame: Any, table: Table) -> None:
    """The documented types, in a frame of either library."""
    columns = {column.name: column.dtype for column in table.columns}
    assert list(frame.columns) == list(columns)
    for name, dtype in columns.items():
        found = frame[name].dtype
        assert str(found) == POLARS[dtype] or str(found) in PANDAS[dtype], (name, dtype, found)


@pytest.fixture(params=["pandas", "polars"])
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


@pytest.mark.parametrize("which", WHICH)
def test_csv_opens_with_the_documented_types(tmp_path: Path, library: Any, which: Any) -> None:
    """By inference alone, also where no row has a value, and where the first hundred have none."""
    table = mixed_grid(tmp_path).table(**which)
    frame = library.read_csv(io.StringIO(csv_of(table)))
    assert_types(frame, table)
    assert frame["seed"].sum() == sum(row["seed"] for row in lines_of(table))


@pytest.mark.parametrize("which", WHICH)
def test_parquet_opens_with_the_documented_types(tmp_path: Path, library: Any, which: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = mixed_grid(tmp_path).table(**which)
    with (tmp_path / "rows.parquet").open("wb") as stream:
        write_parquet(table, stream)
    frame = library.read_parquet(tmp_path / "rows.parquet")
    assert_types(frame, table)
    schema = parquet.read_schema(tmp_path / "rows.parquet")
    assert schema.metadata[b"fastadv_schema"] == b"2"
    for column in table.columns:
        told = schema.field(column.name)
        assert told.metadata == {b"unit": column.unit.encode(), b"meaning": column.meaning.encode()}
        assert told.nullable == (column.dtype == "float64")
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == lines_of(table)


@pytest.mark.parametrize("which", WHICH)
def test_a_frame_has_the_documented_types(tmp_path: Path, library: Any, which: Any) -> None:
    grid = mixed_grid(tmp_path)
    pytest.importorskip("narwhals")
    frame = grid.to_frame(library.__name__, **which)
    assert isinstance(frame, library.DataFrame)
    assert_types(frame, grid.table(**which))
    rows = lines_of(grid.table(**which))
    assert len(frame) == len(rows)
    missing = (
        frame["distance_l2"].is_null()
        if library.__name__ == "polars"
        else frame["distance_l2"].isna()
    )
    assert [bool(value) for value in missing] == [row["distance_l2"] is None for row in rows]
    assert list(frame["attack"]) == [row["attack"] for row in rows]


def test_another_library_of_narwhals_is_named_like_these(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals")
    table = mixed_grid(tmp_path).to_frame("pyarrow")
    assert isinstance(table, pyarrow.Table)
    assert table.to_pylist() == lines_of(mixed_grid(tmp_path).table())


def test_a_frame_of_no_rows(library: Any) -> None:
    pytest.importorskip("narwhals")
    frame = GridResult(()).to_frame(library.__name__)
    assert_types(frame, GridResult(()).table())


def test_a_frame_is_of_the_library_that_the_caller_has(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pytest.importorskip("narwhals")
    grid = result([clean()])
    assert isinstance(grid.to_frame(), pandas.DataFrame)
    monkeypatch.delitem(sys.modules, "pandas")
    assert isinstance(grid.to_frame(), polars.DataFrame)


@pytest.mark.parametrize(
    ("absent", "library", "says"),
    [
        (("pandas", "polars"), None, "to_frame needs pandas or polars: pip install pandas"),
        (("polars",), "polars", "polars is not installed: pip install polars"),
        (("narwhals",), "pandas", r"to_frame needs narwhals: pip install narwhals"),
        ((), "excel", "to_frame makes frames of pandas or polars, not of 'excel'"),
    ],
)
def test_a_library_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, absent: tuple[str, ...], library: str | None, says: str
) -> None:
    if "narwhals" not in absent:
        pytest.importorskip("narwhals")
    without(monkeypatch, *absent)
    with pytest.raises(InputError, match=says) as caught:
        result([clean()]).to_frame(library)
    assert "\n" not in str(caught.value)


def test_parquet_without_pyarrow_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pyarrow")
    with pytest.raises(InputError, match=r"parquet needs pyarrow: pip install pyarrow"):
        write_parquet(result([clean()]).table(), io.BytesIO())


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let it be as if packages were not installed."""
    import importlib.util

    find: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in names else find(name, *rest),
    )
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


# -- names ----------------------------------------------------------------------------------


@given(TEXTS)
def test_any_text_comes_back_from_csv(text: str) -> None:
    table = cells(evasion(text, SCRIPT)).table()
    (line,) = csv.DictReader(io.StringIO(csv_of(table)))
    field = line["attack"]
    assert field.lstrip()[:1] not in ("=", "+", "-", "@")
    assert (field[1:] if field.startswith("'") else field) == (visible(text) or "none")
    assert csv_of(table).count("\n") == 2


def test_formulas_are_texts_and_numbers_stay_numbers() -> None:
    assert [as_text(text) for text in ("=1", " +1", "-1", "@a", "'x", "＝1", "a=1", "")] == [
        "'=1", "' +1", "'-1", "'@a", "''x", "'＝1", "a=1", "",
    ]  # fmt: skip
    row = poisoning()
    row.accuracy_lost = figure(0.5)
    row.accuracy_lost = type(row.accuracy_lost)(-0.01, -0.02, 0.0, 10)
    (line,) = csv.DictReader(io.StringIO(csv_of(cells(row).table())))
    assert line["accuracy_lost"] == "-0.01"


@given(TEXTS)
def test_any_text_comes_back_from_json_without_a_control_character(text: str) -> None:
    grid = cells(evasion(text.encode("utf-8", "ignore").decode()))
    stream = io.StringIO()
    write_lines(grid.table(), stream)
    for document in (stream.getvalue(), rows_json(grid)):
        assert visible(document.replace("\n", "")) == document.replace("\n", "")
    assert json.loads(rows_json(grid))["rows"][0]["attack"] == grid[0].attack
    assert json.loads(stream.getvalue())["attack"] == (grid[0].attack or "none")


def test_hostile_names_keep_their_rows_apart(tmp_path: Path) -> None:
    names = NAMES[:9]
    grid = hostile_grid(tmp_path, names)
    for which in ({}, {"samples": True}):
        table = grid.table(**which)
        lines = list(csv.DictReader(io.StringIO(csv_of(table))))
        assert len(lines) == len(lines_of(table))
        assert {line["defense"] for line in lines} == {as_text(name) for name in (*names, "none")}


def test_what_is_shown_of_a_control_character() -> None:
    assert visible("a\x1b[31m\x07\x9b\u202e\u2028\ud800\U000e0041") == (
        r"a\x1b[31m\x07\x9b\u202e\u2028\ud800\U000e0041"
    )
    assert visible("é 中 🙂 \\ ") == "é 中 🙂 \\ "
