"""The command for one cell asks for that cell."""

from __future__ import annotations

import shlex
from dataclasses import replace

import msgspec
from made_grids import default_grid

from fastadv.grid.result import GridResult
from fastadv.report.command import cell_command, grid_command


def test_the_command_for_a_cell_asks_for_that_cell_in_as_many_runs(tmp_path):
    document = {"samples": 1000, "repeats": 5, "attacks": ["none", "pgd"], "seeds": [7, 8, 9]}
    result = replace(default_grid(tmp_path), grid=document)
    row = next(row for row in result.rows if row.attack.startswith("stadv[budget=1"))
    seven = [msgspec.structs.replace(run, seed=7 + k) for k, run in enumerate(row.runs)]
    assert _options(result, msgspec.structs.replace(row, runs=seven)) == {
        "--attacks": "stadv[budget=1,translation=true]", "--defenses": row.defense,
        "--dataset": row.dataset, "--model": row.model, "--samples": "1000",
        "--repeats": "5", "--seed": "7",
    }  # fmt: skip


def _options(result: GridResult, row) -> dict[str, str]:
    words = shlex.split(cell_command(result, row))
    assert words[:2] == ["fastadv", "grid"]
    return dict(zip(words[2::2], words[3::2], strict=True))


def test_a_model_that_came_as_an_object_has_no_text() -> None:
    asked = {"attacks": ["fgsm"], "defenses": ["none"], "dataset": "mnist", "model": "SVC"}
    words = grid_command({**asked, "given": {"how": "taken over", "from": "python"}}).split()
    assert words[words.index("--model") + 1] == "FILE.py:FACTORY"
    told = grid_command({**asked, "model": "a.py:f", "given": {"how": "autograd", "from": "text"}})
    assert "--model a.py:f" in told
