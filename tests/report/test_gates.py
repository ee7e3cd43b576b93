"""Gates for CI, over made-up folders: what is named, what fails, and what it says."""

from __future__ import annotations

import json
from statistics import fmean

import msgspec
import pytest
from made_rows import clean, evasion, poisoning, result, undone, worst_case

from fastadv.cli.app import main
from fastadv.errors import InputError
from fastadv.grid.row import Flag
from fastadv.report.gates import Gate, parse_share

IDENTITY = Flag("identity_gradient", "no useful gradient", "a black-box attack may find more")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept" / "cells").mkdir(parents=True)
    return tmp_path / "kept"


def keep(folder, *rows, grid=None):
    for row in rows:
        (folder / "cells" / f"{row.id}.json").write_bytes(msgspec.json.encode(row))
    if grid is not None:
        (folder / "grid.json").write_text(json.dumps({"grid": grid, "environment": {}}))


def said(capsys, *options, command=("report", "kept"), code=1):
    """Run a gate and return its lines."""
    capsys.readouterr()
    assert main([*command, *options]) == code
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if "grid.json" not in line]


def failing(rows, text, allowed=(), grid=None, worst=()):
    return Gate.parse(text, allowed).failures(result(rows, worst, grid))


# -- the findings ---------------------------------------------------------------------------


def test_a_working_backdoor_fails_and_its_line_names_the_triggered_images(folder, capsys):
    figures = {"attacked_accuracy": 0.074, "success_rate": 0.923, "benign_accuracy": 0.942}
    keep(folder, clean(), poisoning("backdoor", **figures))
    assert said(capsys, "--fail-under", "90%") == [
        "fastadv: backdoor / none: 7.4 % is below 90 % (92.3 % of the triggered images get the "
        "target label)"
    ]
    assert said(capsys, "--fail-under", "5%", code=0) == []


def test_a_flagged_figure_fails_unless_its_cell_is_allowed(folder, capsys):
    flagged = evasion("pgd", "bit_depth", attacked_accuracy=0.87, flags=[IDENTITY])
    keep(folder, flagged, evasion("pgd", "none", attacked_accuracy=0.8))
    line = (
        "fastadv: pgd / bit_depth: not to be trusted: identity_gradient "
        "(--allow-flagged pgd/bit_depth)"
    )
    for command in (("report", "kept"), ("compare", "kept", "kept")):
        for threshold in ("70%", "pgd/bit_depth=70%", "*/*=70%"):
            assert said(capsys, "--fail-under", threshold, command=command) == [line]
        for allowed in ("pgd/bit_depth", "*/bit_depth", "pgd/*", "*/*"):
            given = "--fail-under", "70", "--allow-flagged", allowed
            assert said(capsys, *given, command=command, code=0) == []
        other = "--fail-under", "70", "--allow-flagged", "pgd/none"
        assert said(capsys, *other, command=command) == [line]
        assert said(capsys, "--fail-under", "pgd/none=70%", command=command, code=0) == []


def test_each_cell_has_a_threshold_of_its_own(folder, capsys):
    keep(
        folder, evasion("pgd", "adv_training", attacked_accuracy=0.79), evasion("pgd", "none"),
        poisoning("backdoor", attacked_accuracy=0.04, success_rate=0.9, benign_accuracy=0.9),
        poisoning("backdoor", "median", attacked_accuracy=0.06),
    )  # fmt: skip
    lines = said(capsys, "--fail-under", "pgd/adv_training=80%,backdoor/*=5%")
    assert [line.partition(" is below")[0] for line in sorted(lines)] == [
        "fastadv: backdoor / none: 4 %", "fastadv: pgd / adv_training: 79 %"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "readings"), [("1", "1% or 100%"), ("0.75", "0.75% or 75%"), ("0.5", "0.5% or 50%")]
)
def test_a_number_up_to_1_is_refused_with_both_readings(folder, capsys, text, readings):
    keep(folder, evasion(attacked_accuracy=0.5))
    for given in (text, f"pgd/none={text}"):
        (line,) = said(capsys, "--fail-under", given, code=2)
        assert f"{text} could mean {readings}" in line


def test_notes_fail_no_gate():
    assert failing([evasion(notes=[IDENTITY])], "40%") == []


# -- what is named --------------------------------------------------------------------------


def test_cells_are_named_by_their_specs_in_any_order_of_parameters():
    attack, defense = "pgd[eps=0.1,steps=5]", "adv_training[attack=pgd[eps=0.1,steps=5],epochs=2]"
    rows = [evasion(attack, defense), evasion("pgd", defense), evasion(attack, "adv_training")]
    for text in (f"{attack}/{defense}=50%", f" pgd[steps=5,eps=0.1] / {defense} = 50 % "):
        assert failing(rows, text) == [f"{attack} / {defense}: 42.1 % is below 50 %"]
    assert len(failing(rows, "pgd/*=50%")) == 1
    assert len(failing(rows, f"*/{defense}=50%")) == 2
    assert len(failing(rows, "50")) == 3


def test_of_several_thresholds_the_last_that_names_a_cell_counts():
    rows = [evasion("pgd"), evasion("fgsm"), evasion("fgsm", "median")]
    assert failing(rows, "90%,fgsm/*=5%,fgsm/median=50%") == [
        "pgd / none: 42.1 % is below 90 %", "fgsm / median: 42.1 % is below 50 %"
    ]  # fmt: skip
    assert len(failing(rows, "fgsm/*=5%,90%")) == 3


def test_the_clean_row_is_judged_only_by_its_name():
    rows = [clean(attacked_accuracy=0.9), evasion(attacked_accuracy=0.5)]
    assert failing(rows, "*/*=40%") == failing(rows, "*/none=40%") == []
    assert failing(rows, "none/none=97%") == ["none / none: 90 % is below 97 %"]


def test_a_worst_case_is_a_cell():
    rows = [evasion("pgd"), evasion("fgsm"), undone(evasion("cw"), "failed", "x")]
    case = worst_case(0.2)
    assert failing(rows[:2], "30%", worst=[case]) == [
        "worst of linf(0.1) / none: 20 % is below 30 %"
    ]
    assert failing(rows[:2], "pgd/none=30%", worst=[case]) == []
    lacking = worst_case(0.4, attacks=("pgd",), missing=("cw",))
    assert failing(rows, "worst/none=30%", worst=[lacking]) == [
        "worst of linf(0.1) / none: without cw, with which it could only be lower"
    ]


def test_a_file_of_thresholds(folder, capsys):
    keep(folder, evasion("pgd", "median"), evasion("pgd[eps=0.2]"))
    file = folder.parent / "gate.toml"
    file.write_text('"*/*" = "10%"\n"pgd[eps=0.2]/none" = 45\n')
    assert said(capsys, "--fail-under", "gate.toml") == [
        "fastadv: pgd[eps=0.2] / none: 42.1 % is below 45 %"
    ]
    for text, message in (
        ('"pgd/none" = 0.5', "gate.toml: pgd/none: 0.5 could mean 0.5% or 50%"),
        ('"pgd" = 5', "gate.toml: 'pgd' names no cell; write ATTACK/DEFENSE"),
        ('"pgd/median" = true', "has to be an accuracy from 0% to 100%, got 'True'"),
        ("[pgd]\nmedian = 5", "'pgd' names no cell"),
        ("= 5", "gate.toml is not valid TOML"), ("", "no threshold"),
    ):  # fmt: skip
        file.write_text(text)
        (line,) = said(capsys, "--fail-under", "gate.toml", code=2)
        assert message in line
    (line,) = said(capsys, "--fail-under", "absent.toml", code=2)
    assert "absent.toml cannot be read" in line


# -- what has no figure ---------------------------------------------------------------------


def test_a_named_cell_without_a_figure_fails():
    rows = [
        undone(evasion("cw"), "failed", "x"), undone(evasion("pgd"), "timeout", "x"),
        undone(evasion("apgd"), "skipped", "x"),
    ]  # fmt: skip
    assert failing(rows, "50%") == [
        "cw / none: no figure (failed)", "pgd / none: no figure (timeout)"
    ]  # fmt: skip
    assert failing(rows, "apgd/none=50%") == ["apgd / none: no figure (skipped)"]
    assert failing(rows, "apgd/*=50%") == []


def test_a_cell_that_was_asked_for_and_is_not_there_fails(folder, capsys):
    grid = {"attacks": ["none", "pgd", "cw"], "defenses": ["none"], "seeds": [0]}
    keep(folder, evasion(attacked_accuracy=0.6), clean(attacked_accuracy=0.1), grid=grid)
    sides = ["compare", "kept:none", "kept:none"]
    for command in (["report", "kept"], ["compare", "kept", "kept"], sides):
        for text in ("60%", "cw/none=1%"):
            found = said(capsys, "--fail-under", text, command=command)
            assert found == ["fastadv: cw / none: no figure (not run)"]
    assert said(capsys, "--fail-under", "pgd/none=60%", code=0) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--fail-under", "pdg/none=5%"], "pdg/none names no cell; did you mean pgd/none?"),
        (["--fail-under", "pgd/nine=5%"], "names no cell; did you mean pgd/none?"),
        (["--fail-under", "pgd[eps=0.3]/none=5%"], "names no cell"),
        (["--fail-under", "worst/none=5%"], "names no cell"),
        (["--fail-under", "5%", "--allow-flagged", "pgd/medain"], "--allow-flagged: pgd/medain"),
        (["--fail-under", "pgd=5%"], "'pgd' names no cell; write ATTACK/DEFENSE"),
        (["--fail-under", "pgd/none="], "has to be an accuracy from 0% to 100%, got ''"),
        (["--fail-under", "pgd[eps=0.1/none=5%"], "brackets"),
        (["--fail-under", "high"], "has to be an accuracy from 0% to 100%, got 'high'"),
        (["--fail-under", "nan"], "has to be an accuracy"),
        (["--fail-under", "101"], "has to be an accuracy"),
        (["--fail-under", "-5%"], "has to be an accuracy"),
        (["--fail-under", ""], "no threshold"),
        (["--allow-flagged", "pgd/none"], "goes with --fail-under, which is not given"),
    ],
)
def test_what_cannot_be_meant_is_one_line(folder, capsys, given, message):
    keep(folder, evasion(), evasion("pgd", "median"))
    for command in (("report", "kept"), ("compare", "kept", "kept")):
        (line,) = said(capsys, *given, command=command, code=2)
        assert message in line


@pytest.mark.parametrize(
    ("given", "share"), [("75%", 0.75), ("75", 0.75), (75, 0.75), ("1.5", 0.015), ("0.5%", 0.005),
                         (" 40 % ", 0.4), ("0", 0.0), ("100", 1.0), ("1%", 0.01)],
)  # fmt: skip
def test_an_accuracy_is_in_per_cent(given, share):
    assert parse_share(given, "x") == share


# -- several runs ---------------------------------------------------------------------------


def test_over_several_runs_the_mean_is_judged_and_a_cell_is_one_line(folder, capsys):
    rows = [evasion(seed=seed, attacked_accuracy=a) for seed, a in enumerate((0.3, 0.5, 0.4))]
    assert failing(rows, "40%") == []
    assert failing(rows, "41%") == ["pgd / none: 40 %, the mean over 3 runs, is below 41 %"]
    rows[1].flags = [IDENTITY]
    undone(rows[2], "failed", "x")
    assert failing(rows, "41%") == [
        "pgd / none: 40 %, the mean over 2 runs, is below 41 %; not to be trusted: "
        "identity_gradient, runs_missing (--allow-flagged pgd/none)"
    ]
    # What is not there at all fails as well: a grid that was stopped passes no gate.
    grid = {"attacks": ["pgd"], "defenses": ["none"], "seeds": [0, 1, 2]}
    keep(folder, *[evasion(seed=s, dealt=(s, 3), n=334 - (s > 0)) for s in (0, 1)],
         grid=grid | {"samples": 1000})  # fmt: skip
    assert said(capsys, "--fail-under", "40%") == [
        "fastadv: pgd / none: not to be trusted: runs_missing (--allow-flagged pgd/none)"
    ]


def test_a_run_of_which_nothing_is_left_counts_as_nothing():
    rows = [evasion(seed=seed, attacked_accuracy=a) for seed, a in enumerate((0.0, 0.5))]
    assert failing(rows, "25%") == []
    assert failing(rows, "26%") == ["pgd / none: 25 %, the mean over 2 runs, is below 26 %"]
    assert failing(rows[:1], "1%") == ["pgd / none: 0 % is below 1 %"]
    case = worst_case(0.25, n_runs=2)
    assert failing(rows, "worst/none=26%", worst=[case]) == [
        "worst of linf(0.1) / none: 25 %, the mean over 2 runs, is below 26 %"
    ]
    obeys = {"success_rate": 0.0, "benign_accuracy": 0.9, "attacked_accuracy": 0.5}
    (line,) = failing([poisoning("backdoor", **obeys)], "60%")
    assert line.endswith("is below 60 % (0 % of the triggered images get the target label)")


# -- the command that runs a grid -----------------------------------------------------------


@pytest.mark.compiled
def test_a_grid_that_is_run_has_the_same_gate(tmp_path, monkeypatch, capsys):
    from helpers import SMALL_MLP, write_npz

    monkeypatch.chdir(tmp_path)
    grid = ["grid", "--dataset", write_npz(tmp_path / "d.npz"), "--attacks", "backdoor[points=20,patch=2]",
            "--repeats", "1", "--defenses", "none", "--model", SMALL_MLP.replace("max_iter=4", "max_iter=60"), "--samples", "20"]  # fmt: skip
    assert main([*grid, "--fail-under", "backdor/none=5%"]) == 2
    assert "names no cell" in capsys.readouterr().err
    assert not (tmp_path / "fastadv-results").exists()  # told before any work
    assert main([*grid, "--fail-under", "90%"]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "is below" in line]
    assert line.startswith("fastadv: backdoor[points=20,patch=2] / none: ")
    assert line.endswith("of the triggered images get the target label)")
    assert main(["report", "--fail-under", "90%"]) == 1
    assert line in capsys.readouterr().err
    assert main(["report", "--fail-under", "0%"]) == 0


def test_names_of_cells_from_a_file_need_not_be_specs():
    rows = [evasion('"><script>[', "a]b"), evasion()]
    assert failing(rows, "pgd/none=50%") == ["pgd / none: 42.1 % is below 50 %"]
    with pytest.raises(InputError, match="names no cell"):
        failing(rows[:1], "pgd/none=50%")


def test_a_share_is_not_lost_to_rounding():
    shares = (0.01, 0.02, 0.12)
    assert fmean(shares) < 0.05  # which is their mean
    assert failing([evasion(seed=i, attacked_accuracy=a) for i, a in enumerate(shares)], "5%") == []
    assert failing([evasion(attacked_accuracy=0.8996)], "90%") == [
        "pgd / none: 89.96 % is below 90 %"
    ]
