"""The note on a model whose training has not settled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers import write_npz

from fastadv.cli.app import main
from fastadv.grid.row import Row
from fastadv.grid.run import run_grid

LONG = "mlp[hidden_layer_sizes=6,batch_size=16,max_iter=60]"
SHORT = "mlp[hidden_layer_sizes=6,batch_size=16,max_iter=1]"


def remarks(rows: Sequence[Row]) -> dict[str, list[str]]:
    """By attack and defense, the notes of a row, but for one of another kind."""
    return {
        f"{row.attack} / {row.defense}": [
            note.name for note in row.notes if note.name != "not_adaptive"
        ]
        for row in rows
    }


@pytest.mark.filterwarnings("error")  # the note is all that a grid says of it
def test_rows_of_a_model_that_has_not_settled_have_a_note(tmp_path: Path) -> None:
    def rows(model: str, *defenses: str) -> Sequence[Row]:
        return run_grid(
            repeats=1, attacks=["fgsm", "label_flip[points=6]"], defenses=defenses, model=model,
            dataset=write_npz(tmp_path / "d.npz"), samples=20, output=tmp_path / "out",
        )  # fmt: skip

    assert not any(remarks(rows(LONG, "none", "loss_trim[epochs=1]")).values())
    defenses = ["none", "loss_trim", "dpa[partitions=3]"]
    short = rows(SHORT, *defenses)
    for cell, names in remarks(short).items():
        others = cell.endswith(
            ("dpa[partitions=3]", "adv_training[epochs=30]")
        )  # epochs of their own
        assert names == ([] if others else ["not_settled"]), cell
    assert not any(flag.name == "not_settled" for row in short for flag in row.flags)
    note = short[0].notes[0]
    assert (
        note.message
        == "none: when training ended, one epoch does not tell whether the loss is at rest"
    )
    assert note.remedy == "more epochs"
    assert remarks(rows(SHORT, *defenses)) == remarks(short), "also of rows that were kept"


@pytest.mark.filterwarnings("default")
def test_a_single_attack_says_it_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_npz(tmp_path / "d.npz")
    for model, times in ((SHORT, 1), (LONG, 0)):
        assert main(["attack", "label_flip[points=6]", "--dataset", dataset, "--model", model]) == 0
        assert capsys.readouterr().err.count("note: training has not settled: one epoch") == times


def test_what_biggio_cannot_differentiate_is_skipped_with_the_reason(tmp_path: Path) -> None:
    rows = run_grid(
        repeats=1, attacks="biggio", defenses="none", dataset=write_npz(tmp_path / "d.npz"),
        model=f"{LONG[:-1]},early_stopping=true]",
    )  # fmt: skip
    assert rows[1].status == "skipped"
    assert rows[1].reason == "there is no derivative through early_stopping; leave it off"
