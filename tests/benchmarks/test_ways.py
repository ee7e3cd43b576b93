"""Cells beside what more queries find, on small images."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from helpers import SMALL_MLP, write_npz
from rich.console import Console

from fastadv.attacks.evasion import without_gradient
from fastadv.benchmarks import ways
from fastadv.benchmarks.ways_table import ways_table
from fastadv.cli.app import main
from fastadv.experiment import new_model


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set for the suite, with a few of its cells, and few queries."""
    monkeypatch.setattr(ways, "MORE_QUERIES", 60)
    monkeypatch.setattr(without_gradient, "MORE_QUERIES", 60)
    monkeypatch.setattr(ways, "CASES", (("bit_depth[bits=2]", "pgd", 0), ("bit_depth", "stadv[steps=6]", 0), ("median", "fgsm", 1)))  # fmt: skip
    monkeypatch.setattr(ways, "FASHION", Path("/no/such/folder"))
    data = ways.load_dataset(write_npz(tmp_path / "d.npz"))
    monkeypatch.setattr(ways, "_data", lambda _: data)
    monkeypatch.setattr(
        ways, "_trained", lambda _, seed: new_model(SMALL_MLP, seed, data).fit(data.x_train, data.y_train)
    )  # fmt: skip
    return "d"


@pytest.mark.usefixtures("small")
def test_the_reference_is_all_ways_but_the_identity() -> None:
    rounded, bent, filtered = ways.beside(samples=30)
    assert list(rounded.alone) == ["through", "transfer", "surrogate", "square 60"]
    assert list(bent.alone) == ["through", "transfer", "surrogate"]
    assert list(filtered.alone) == ["through", "transfer", "surrogate", "square 60"]
    for cell in (rounded, bent, filtered):
        assert cell.together <= min(v for way, v in cell.alone.items() if way != "through")
        assert cell.cell <= cell.alone["through"] + 0.1  # of another seed
        assert cell.cell <= cell.clean


def test_a_point_above_is_allowed_and_more_is_too_high() -> None:
    cell = ways.Beside(
        dataset="d", defense="bit_depth", attack="pgd", threat="linf(0.1)", seed=0, n=1000,
        clean=0.98, cell=0.51, alone={"through": 0.6, "transfer": 0.7, "square 5,000": 0.5},
        together=0.5,
    )  # fmt: skip
    assert not cell.too_high
    high = msgspec.structs.replace(cell, cell=0.511, attack="pgd[eps=1,norm=l2]", dataset="e")
    assert high.too_high
    stream = io.StringIO()
    Console(file=stream, width=80).print(ways_table([cell, high]))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("too high") == 1
    assert "51.1" in text


@pytest.mark.usefixtures("small")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    assert main(["bench", "--suite", "ways", "--only", "fgsm / median", "--json", str(file)]) == 0
    assert "fgsm / median" in capsys.readouterr().out
    kept = msgspec.json.decode(file.read_bytes())
    assert [cell["attack"] for cell in kept["cells"]] == ["fgsm"]
    assert main(["bench", "--suite", "ways", "--only", "nothing"]) == 2
    assert "has no such cell" in capsys.readouterr().err
