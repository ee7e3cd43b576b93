"""The experiment of Biggio et al.: our figures beside the paper's, and how they are shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fastadv.cli.app import main
from fastadv.errors import InputError
from fastadv.reproduce import biggio2012, papers
from fastadv.reproduce import biggio2012_report as report
from fastadv.reproduce.biggio2012 import MOST_POINTS, PAIRS, Pair


@pytest.fixture(scope="module")
def outcome() -> list[Pair]:
    return biggio2012.run(splits=3)


def made() -> list[Pair]:
    error = np.arange(2.0 * (MOST_POINTS + 1)).reshape(2, -1)
    image = np.linspace(0, 1, 784).reshape(28, 28)
    return [Pair(name, error, error / 10, image, image.T) for name in PAIRS]


@pytest.mark.compiled
def test_the_error_rises_as_in_the_paper_and_flips_alone_do_nothing(outcome: list[Pair]) -> None:
    least = {"7v1": (15, 24), "9v8": (24, 33), "4v0": (18, 35)}  # of 1 and 6 points
    for pair in outcome:
        mean = pair.error.mean(axis=0)
        assert mean[0] < 6
        assert mean[1] >= least[pair.title][0]
        assert mean[6] >= least[pair.title][1]
        assert np.abs(pair.flipped.mean(axis=0) - mean[0]).max() <= 0.5
        np.testing.assert_array_equal(pair.error[:, 0], pair.flipped[:, 0])
        assert pair.start.shape == pair.end.shape == (28, 28)
        assert np.linalg.norm(pair.end - pair.start) > 1


def test_the_table_holds_every_mean_and_spread() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(report.table(made()))
    text = out.getvalue()
    for points in range(MOST_POINTS + 1):
        mean = (points + points + MOST_POINTS + 1) / 2
        assert f"{mean:.1f} ± {(MOST_POINTS + 1) / 2**0.5:.1f}" in text
    assert "15 to 20" in text
    assert "over 2 splits" in " ".join(text.split())


def test_drawings_have_a_caption_each() -> None:
    text = str(report.drawing(made(), color=False, width=100))
    for caption in ("7v1: as it started", "added, labelled 8", "added, labelled 0"):
        assert caption in text


def test_numbers_and_pictures_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = report.save(made(), tmp_path / "new")
    document = json.loads((tmp_path / "new" / "biggio2012.json").read_text())
    assert [pair["pair"] for pair in document["pairs"]] == ["7v1", "9v8", "4v0"]
    assert document["pairs"][0]["error"][1][6] == 13
    lines = (tmp_path / "new" / "biggio2012.md").read_text().splitlines()
    assert {line.count("|") for line in lines if line.startswith("|")} == {6}
    for name in names[2:]:
        assert (tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main(["reproduce", "biggio2012", "--output", str(tmp_path)]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_the_command_prints_what_the_module_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(tell: object) -> list[Pair]:
        tell("7v1", 0, 3)  # type: ignore[operator]
        return made()

    monkeypatch.setattr(biggio2012, "run", run)
    monkeypatch.setattr("fastadv.warmup.warm_up", lambda *_: None)
    assert main(["reproduce", "biggio2012"]) == 0
    shown = capsys.readouterr()
    assert "section 4.2" in shown.out
    assert "7v1, 0 of 3 done" in shown.err


def test_papers_are_listed_and_a_wrong_name_gets_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["reproduce"]) == 0
    assert "biggio2012" in capsys.readouterr().out
    assert main(["reproduce", "bigio2012"]) == 2
    assert "did you mean biggio2012?" in capsys.readouterr().err
    with pytest.raises(InputError, match="no paper"):
        papers.find("nothing")
