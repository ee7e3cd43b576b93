"""``fastadv bench``: what it prints and keeps; and that its timing can tell slow from fast."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from helpers import Clock

from fastadv.benchmarks.race import Lap, Race, Runner, Work, run
from fastadv.benchmarks.suites import SUITES
from fastadv.cli.app import main
from fastadv.cli.bench import FLOWS, SCALING, STRENGTH, WAYS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("fastadv.benchmarks.race.time", clock)
    return clock


def test_ratios_quality_and_what_is_not_installed(clock: Clock) -> None:
    def sleeper(*seconds: float) -> Work:
        coming = iter(seconds)

        def work() -> dict[str, float]:
            slept = next(coming)
            clock.sleep(slept)
            return {"slept": slept}

        return work

    runners = (
        Runner("fastadv", lambda: sleeper(9, 2, 2, 2)),
        Runner("slow", lambda: sleeper(9, 20, 12, 18)),
        Runner("gone", lambda: sleeper(1), ("no_such_module",), "pip install it"),
    )
    ours, slow, gone = run(Race("suite", "work", runners), rounds=3, clock=clock.perf_counter)
    assert ours.ratio == ours.low == ours.high == 1.0
    assert (slow.low, slow.ratio, slow.high) == pytest.approx((6.0, 9.0, 10.0))
    assert slow.quality == {"slept": 18}
    assert gone.ratio is None
    assert gone.reason == "no_such_module is not installed: pip install it"
    assert json.loads(msgspec.json.encode(gone))["quality"] == {}


def test_help_names_every_suite(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    printed = "".join(capsys.readouterr().out.split())
    assert "|".join([*SUITES, STRENGTH, WAYS, FLOWS, SCALING]) in printed


@pytest.mark.compiled
def test_kernels_are_measured_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    assert main(["bench", "--only", "flow_loss", "--rounds", "2", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "flow_loss" in printed
    assert "faster" in printed
    kept = json.loads(file.read_text())
    assert [lap["runner"] for lap in kept["laps"]] == ["fastadv", "numpy"]
    assert kept["laps"][1]["ratio"] > 0
    assert kept["environment"]["threads"] >= 1


@pytest.mark.compiled
def test_ctrl_c_shows_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_at_the_last(race: Race, rounds: int) -> list[Lap]:
        if race.name.startswith("l2_project"):
            raise KeyboardInterrupt
        return run(race, rounds)

    monkeypatch.setattr("fastadv.benchmarks.race.run", stop_at_the_last)
    assert main(["bench", "--only", "_", "--rounds", "1"]) == 130
    printed = capsys.readouterr()
    assert "flow_loss" in printed.out
    assert printed.err.endswith("fastadv: stopped\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "kernel"], "no suite 'kernel'; did you mean kernels?"),
        (["--only", "nothing like it"], "the suite kernels has no such work; it has forward, 20"),
        (["--rounds", "0"], "--rounds"),
        (["--json", "no/such/folder/out.json"], "there is no folder"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
