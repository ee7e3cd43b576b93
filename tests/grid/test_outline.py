"""What a grid says that it would do, beside what it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import SMALL_MLP, write_npz

from fastadv.cli.app import main
from fastadv.errors import InputError
from fastadv.grid.outline import outline
from fastadv.grid.run import run_grid

ASKED = {
    "attacks": "fgsm,label_flip[points=6]", "defenses": "none,median,knn_relabel[neighbors=5]",
    "model": SMALL_MLP, "samples": 20, "repeats": 2, "seed": 0,
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    return str(write_npz(tmp_path / "d.npz"))


def test_stages_are_counted_as_they_are_shared(dataset: str, tmp_path: Path) -> None:
    found = outline(tmp_path / "out", dataset=dataset, **ASKED)
    assert [(cell.to_do, cell.kept, cell.reason) for cell in found.cells] == [(2, 0, None)] * 9
    # none and median share their trainings; each run has its own
    assert found.stages["trainings"] == 2 * (2 + 2)
    assert found.stages["poisoned sets"] == 2
    assert found.seconds > 0
    assert found.megabytes > 0
    assert not (tmp_path / "out").exists()


def test_what_is_kept_is_not_to_do(dataset: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_grid(dataset=dataset, output=out, **{**ASKED, "attacks": "fgsm"})
    kept = {path.name for path in out.rglob("*")}
    found = outline(out, dataset=dataset, **ASKED)
    assert {cell.attack: (cell.to_do, cell.kept) for cell in found.cells} == {
        "none": (0, 2), "fgsm": (0, 2), "label_flip[points=6]": (2, 0)
    }  # fmt: skip
    assert found.stages["trainings"] == 4  # on poison; those without it are kept
    assert {path.name for path in out.rglob("*")} == kept
    assert {cell.to_do for cell in outline(out, fresh=True, dataset=dataset, **ASKED).cells} == {2}


def test_the_command_line_lists_cells_and_stops(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["grid", "--attacks", "fgsm,stadv", "--defenses", "none,smoothing", "--plan"]
    command += ["--dataset", dataset, "--model", "svm", "--output", str(out)]
    assert main(command) == 2  # ten classes
    capsys.readouterr()
    command[command.index("svm")] = SMALL_MLP
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "runs to do" in printed
    assert "stadv[translation=false]" in printed
    assert "which share" in printed
    assert not out.exists()
    with pytest.raises(InputError, match="is a file"):
        outline(dataset, dataset=dataset, **ASKED)
