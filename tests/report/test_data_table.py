"""What ``fastadv data show`` says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fastadv.cli.app import main
from fastadv.datasets import Dataset
from fastadv.datasets.duplicates import duplicates
from fastadv.report.data_table import data_images, data_table


def made(**options: Any) -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (60, 5, 4)).astype(np.uint8)
    x_test = np.concatenate([x[:3], 255 - x[3:15]])
    y = np.arange(60) % 3
    y_test = np.concatenate([y[:2], [1], y[3:15]])  # the third is of class 2 in training
    names = ("cat", "<script>alert(1)</script>[red]", "owl")
    given = {"x_val": x[20:24], "y_val": y[20:24], "x_test": x_test, "y_test": y_test}
    return Dataset.from_arrays(x, y, **(given | options), name="pets", class_names=names)


def text(renderable: Any, width: int = 80) -> str:
    console = Console(width=width, color_system=None, markup=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_duplicates_between_the_parts() -> None:
    assert duplicates(made(), "test") == (3, 1)
    assert duplicates(made(), "val") == (4, 0)
    none = made(x_val=np.full((2, 5, 4), 7, np.uint8), y_val=np.array([0, 1]))
    assert duplicates(none, "val") == (0, 0)


def test_the_facts() -> None:
    shown = text(data_table(made()))
    assert max(map(len, shown.splitlines())) <= 80
    for fact in (
        "pets", "5 x 4 pixels, grey", "0 to 1, of 0 to 1 that they may have",
        "4 of 4 are training rows",
        "3 of 15 are training rows (1 under another label)",
        "<script>alert(1)</script>[red]", made().fingerprint,
    ):  # fmt: skip
        assert fact in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["cat", "20", "1", "5"] in rows
    assert ["all", "60", "4", "15"] in rows
    assert "15 of 75 rows were drawn" not in shown


def test_notes_are_shown() -> None:
    assert "12 of 60 rows were drawn for it" in text(
        data_table(made(x_test=None, y_test=None)), 200
    )


def test_images_of_the_first_classes() -> None:
    shown = data_images(made(), 2, color=False, width=80).plain
    assert "cat" in shown
    assert "owl" not in shown
    assert len(shown.splitlines()) == 4  # a caption, three lines of two pixels


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "digits", "--images", "2"]) == 0
    out = capsys.readouterr().out
    for fact in ("8 x 8 pixels, grey", "359 of 1,797 rows were drawn", "1,319", "missing values"):
        assert fact in " ".join(out.split())
    assert main(["data", "show", "digit"]) == 2
    assert "did you mean digits?" in capsys.readouterr().err


def test_the_command_names_every_set_that_can_be_fetched() -> None:
    from fastadv.cli.data import FETCHED
    from fastadv.datasets.published import PUBLISHED

    assert set(FETCHED.replace(" or ", ", ").split(", ")) == set(PUBLISHED)
