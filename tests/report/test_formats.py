"""``fastadv report``: every form of a grid's results, printed or in a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hostile import hostile_grid
from made_grids import default_grid

from fastadv.cli.app import main
from fastadv.grid.store import Store
from fastadv.visible import visible


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("grid")
    default_grid(path)
    Store(path).write_json("grid.json", {"grid": {}, "environment": {}})
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["rows.csv"], b"id,dataset,model,"), (["rows.csv", "--runs"], b"id,dataset,model,"),
        (["rows.csv", "--samples"], b"dataset,model,attack,"), (["rows.json"], b'{\n "schema": 2,'),
        (["rows.jsonl", "--runs"], b'{"id":'), (["rows.jsonl", "--samples"], b'{"dataset":'),
        (["rows.jsonl"], b'{"id":'), (["table.md"], b"### mnist"), (["table.md", "--details"], b"### mnist"),
        (["table.tex"], b"% Made by"), (["rows.parquet"], b"PAR1"),
        (["rows.parquet", "--samples"], b"PAR1"), (["x", "--format", "csv"], b"id,dataset,"),
    ],
)  # fmt: skip
def test_a_file_holds_what_is_printed(
    folder: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], arguments: list[str],
    begins: bytes,
) -> None:  # fmt: skip
    name, *others = arguments
    form = {".tex": "latex", ".md": "markdown", ".jsonl": "json"}.get(Path(name).suffix)
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    file = tmp_path / name
    assert main(["report", folder, *others, "--output", str(file)]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert str(file) in err.decode()
    if arguments == ["rows.jsonl"]:  # standard output has no name to tell it from the document
        assert file.read_bytes().startswith(begins)
        return
    said = [] if "--format" in others else ["--format", form or Path(name).suffix[1:]]
    assert main(["report", folder, *others, *said]) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(begins)
    assert out == file.read_bytes()
    assert err == b""


def test_parquet_goes_to_no_terminal(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["report", folder, "--format", "parquet"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "fastadv: parquet is no text for a terminal: give --output rows.parquet\n",
    )


def test_a_file_stays_as_it_was_where_images_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = default_grid(tmp_path / "grid")
    (tmp_path / "grid" / "cells" / f"{grid.runs[7].id}.npz").unlink()
    (tmp_path / "rows.csv").write_text("what was there")
    arguments = [
        "report",
        str(tmp_path / "grid"),
        "--samples",
        "--output",
        str(tmp_path / "rows.csv"),
    ]
    assert main(arguments) == 2
    assert "npz cannot be read: the images of " in capsys.readouterr().err
    assert (tmp_path / "rows.csv").read_text() == "what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid", "rows.csv"]


def test_a_gate_judges_what_is_written_too(folder: str, tmp_path: Path) -> None:
    arguments = ["report", folder, "--output", str(tmp_path / "rows.csv"), "--fail-under", "99%"]
    assert main(arguments) == 1
    assert (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize(
    "form", ["table", "table --details", "markdown", "markdown --details", "latex", "csv", "json"]
)
def test_no_control_character_of_a_name_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    hostile_grid(tmp_path)
    assert main(["report", str(tmp_path), "--format", *form.split()]) == 0
    out, err = capsys.readouterr()
    for text in (out, err):
        assert visible(text.replace("\n", "")) == text.replace("\n", "")
    assert ("u001b" if form == "json" else "x1b") in out


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_no_control_character_of_a_folders_name_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    folder = tmp_path / "a\x1b]0;title\x07\x9b31m\u202e"
    hostile_grid(folder)
    (folder / "cells" / "\x1b[2J.json").write_text("no row")
    assert main(["report", str(folder), "--format", form]) == 0
    assert main(["report", str(folder / "\x1b[0m")]) == 2
    assert main(["compare", f"{folder}:\x1bnone", str(folder)]) == 2
    assert main(["report", str(folder), "--format", form, "--output", str(folder / "\x1b.x")]) in (
        0,
        2,
    )
    out, err = capsys.readouterr()
    for text in (out, err):
        assert visible(text.replace("\n", "")) == text.replace("\n", "")
    assert "x1b[2J.json could not be read" in err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_comparison_prints_none_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    hostile_grid(tmp_path)
    assert main(["compare", str(tmp_path), str(tmp_path), *form]) == 0
    out, err = capsys.readouterr()
    for text in (out, err):
        assert visible(text.replace("\n", "")) == text.replace("\n", "")
    assert ("u009b" if form else "x9b") in out
