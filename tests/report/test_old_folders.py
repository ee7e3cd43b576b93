"""Folders of schema 1: they read, and show the figures that they showed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import numpy as np
import pytest
from made_rows import evasion, result

from fastadv import threat
from fastadv.cli.app import main
from fastadv.grid.result import read_result
from fastadv.grid.row import Certified, Figure, Row, decode_row
from fastadv.metrics import wilson_interval
from fastadv.report.cells import make_sheets
from fastadv.report.curves import plots

CURVE = Path(__file__).parents[2] / "results" / "poisoning-curve"

# The cells of the curve: mean, interval, deviation, points lost, flips.
SHOWN = [
    ("97.9", "97.6-98.2", "± 0.1"),
    ("95.8", "94.5-97.0", "± 1.0", "points 2.1", "flips 97.2"), ("95.8", "94.6-97.1", "± 1.0", "points 2.1", "flips 97.2"),
    ("97.2", "96.7-97.7", "± 0.3", "points 0.7", "flips 97.5"), ("97.2", "96.6-97.7", "± 0.4", "points 0.8", "flips 97.5"),
    ("95.1", "92.7-97.5", "± 1.9", "points 2.8", "flips 97.0"), ("95.1", "92.7-97.5", "± 1.9", "points 2.8", "flips 97.0"),
    ("97.6", "97.2-97.9", "± 0.1", "points 0.3", "flips 97.6"), ("97.6", "97.2-97.9", "± 0.1", "points 0.3", "flips 97.6"),
    ("93.7", "89.8-97.6", "± 3.1", "points 4.2", "flips 96.6"), ("93.9", "89.8-98.0", "± 3.3", "points 4.0", "flips 96.6"),
]  # fmt: skip


def old_row(**changes: Any) -> dict[str, Any]:
    """A row as schema 1 kept it."""
    return {
        "schema": 1, "id": "one", "dataset": "mnist", "model": "mlp", "attack": "pgd",
        "defense": "none", "seed": 0, "kind": "evasion", "threat": None, "status": "ok",
        "reason": None, "n": 1000, "clean_accuracy": 0.98, "benign_accuracy": None,
        "attacked_accuracy": 0.4, "attacked_accuracy_ci95": [0.37, 0.43], "success_rate": None,
        "oblivious_accuracy": None, "certified": None, "baseline_accuracy": None, "distances": {},
        "poison": None, "sanitized": None, "queries": {}, "seconds": {"fit": 1.5}, "weights": "w",
        "flags": [], "notes": [], "parameters": {"attack": {}, "defense": {}, "model": {}},
    } | changes  # fmt: skip


def read(**changes: Any) -> Row:
    return decode_row(json.dumps(old_row(**changes)).encode())


def bare(value: float) -> Figure:
    """A figure of which schema 1 does not say how many images it is of."""
    return Figure(value, None, None, 0)


# -- rows -----------------------------------------------------------------------------------


def test_a_clean_row_with_a_certificate_of_its_own() -> None:
    certified = {"threat": "points(12)", "accuracy": 0.7, "ci95": [0.6, 0.8], "n": 1000}
    row = read(kind="none", attack="none", certified=certified, sanitized={"lost": 0.1})
    assert (row.schema, row.kind, row.threat) == (2, "none", None)
    assert row.attacked_accuracy == Figure(0.4, 0.37, 0.43, 1000)
    assert row.clean_accuracy == bare(0.98)
    assert row.certified == Certified(threat.poison(0.01, 12), Figure(0.7, 0.6, 0.8, 1000))
    assert row.sanitized == {"lost": 0.1}
    assert (row.weights, row.seconds) == ("w", {"fit": 1.5})


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("linf(0.1)", {"eps": 0.1}, threat.linf(0.1)),
        ("linf(0.0313725)", {"eps": 8 / 255, "steps": 40}, threat.linf(8 / 255)),
        ("l2(1)", {"budget": 1}, threat.l2(1.0)), ("flow(30)", {"budget": 30.0}, threat.flow(30)),
        ("shift(2.5)", {"max_shift": 2.5}, threat.shift(2.5)),
        ("rotation_translation(30,3)", {"rotation": 30.0, "translation": 3},
         threat.rotation_translation(30, 3)),
        ("rotation_translation(0.333333,3)", {"rotation": 1 / 3},
         threat.rotation_translation(1 / 3, 3)),
        ("poison(0.03)", {"fraction": 0.03}, threat.poison(0.03)),
        ("points(4)", {"fraction": 0.03, "points": 4}, threat.poison(0.03, 4)),
        ("trigger(0.01)", {}, threat.trigger(0.01)),
        ("trigger_points(20)", {}, threat.trigger(0.01, 20)),
    ],
)  # fmt: skip
def test_a_threat_is_that_of_the_attack(
    text: str, parameters: dict[str, Any], expected: threat.Threat
) -> None:
    row = read(threat=text, parameters={"attack": {"norm": "linf", "on": True, **parameters}})
    assert row.threat == expected
    assert str(row.threat) == text


def test_an_evasion_row_with_everything() -> None:
    certified = {"threat": "linf(0.1)", "accuracy": 0.2, "ci95": [0.1, 0.3], "n": 1000}
    row = read(
        threat="linf(0.1)", success_rate=0.6, oblivious_accuracy=0.5, certified=certified,
        distances={"linf": 0.1}, queries={"backward": 40.0},
        flags=[{"name": "a", "message": "b", "remedy": "c"}], notes=[{"name": "d", "message": "e"}],
        parameters={"attack": {"eps": 0.1}, "defense": {"size": 2}, "model": {"layers": [8]}},
    )  # fmt: skip
    assert (row.success_rate, row.oblivious_accuracy) == (bare(0.6), bare(0.5))
    assert row.certified == Certified(threat.linf(0.1), Figure(0.2, 0.1, 0.3, 1000))
    assert [remark.name for remark in (*row.flags, *row.notes)] == ["a", "d"]
    assert row.parameters["model"] == {"layers": [8]}
    assert (row.distances, row.queries) == ({"linf": 0.1}, {"backward": 40.0})
    assert row.found == {}


def test_a_poisoning_row_with_what_was_found_and_caught() -> None:
    row = read(
        kind="poisoning", attack="biggio", threat="poison(0.03)", baseline_accuracy=0.97,
        benign_accuracy=0.9, oblivious_accuracy=0.96, poison={"fraction": 0.03, "points": 30.0},
        sanitized={"lost": 0.1, "caught": 0.0, "caught_unaware": 0.8},
        parameters={"attack": {"fraction": 0.03}, "found": {"region": "3 as 5", "harm": 0.09}},
    )  # fmt: skip
    assert row.sanitized == {"lost": 0.1, "caught": 0.0, "caught_oblivious": 0.8}
    assert row.found == {"region": "3 as 5", "harm": 0.09}
    assert row.parameters == {"attack": {"fraction": 0.03}}
    assert row.poison == {"fraction": 0.03, "points": 30.0}
    figures = row.baseline_accuracy, row.benign_accuracy, row.oblivious_accuracy
    assert figures == (bare(0.97), bare(0.9), bare(0.96))
    (sheet,) = make_sheets(result([row]))
    shown = [line.text for line in sheet.rows[0].cells[0].lines]
    assert shown[-5:] == ["oblivious 96.0", "flips 97.0", "benign 90.0", "caught 0.0 / 80.0",
                          "lost 10.0"]  # fmt: skip


@pytest.mark.parametrize("status", ["skipped", "failed", "timeout"])
def test_a_row_without_a_figure(status: str) -> None:
    none = dict.fromkeys(("clean_accuracy", "attacked_accuracy", "attacked_accuracy_ci95"))
    row = read(status=status, reason="because", threat="linf(0.1)", n=0, weights=None, **none)
    assert (row.status, row.reason) == (status, "because")
    assert (row.clean_accuracy, row.attacked_accuracy) == (None, None)


def test_a_figure_of_known_images_without_an_interval_gets_wilsons() -> None:
    found = read(attacked_accuracy=0.98, attacked_accuracy_ci95=None, n=100).attacked_accuracy
    assert found == Figure(0.98, *wilson_interval(98, 100), 100)


def test_an_accuracy_of_zero_is_a_figure() -> None:
    row = read(attacked_accuracy=0.0, attacked_accuracy_ci95=[0.0, 0.004], baseline_accuracy=0.0)
    assert row.attacked_accuracy == Figure(0.0, 0.0, 0.004, 1000)
    assert row.baseline_accuracy == bare(0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"threat": "linf"}, {"threat": '"><script>'}, {"threat": 3}, {"certified": {}},
        {"certified": {"threat": "linf(1)", "accuracy": 1, "ci95": 3, "n": 1}}, {"sanitized": 3},
        {"parameters": []}, {"parameters": {"attack": 3}}, {"parameters": {"found": 3}},
        {"attacked_accuracy_ci95": [1]}, {"attacked_accuracy": "high"}, {"schema": 3},
        {"schema": None}, {"schema": "1"},
        {"attacked_accuracy_ci95": None, "n": 10**400},
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_named_and_left_out(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    keep(tmp_path, old_row(id="bad", **changes), old_row(id="good", attack="fgsm"))
    found = read_result(tmp_path)
    assert [row.id for row in found] == ["good"]
    (problem,) = [line for line in found.problems if "grid.json" not in line]
    assert problem.startswith("cells/bad.json could not be read")
    assert "\n" not in problem


def test_a_damaged_byte_of_a_row_is_never_a_traceback(tmp_path: Path) -> None:
    keep(tmp_path, old_row(threat="rotation_translation(30,3)"))
    path = tmp_path / "cells" / "one.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] = ord("9")
        path.write_bytes(damaged)
        assert len(read_result(tmp_path)) in (0, 1)


# -- folders --------------------------------------------------------------------------------


def keep(folder: Path, *rows: dict[str, Any], samples: bool = False) -> None:
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    for row in rows:
        (folder / "cells" / f"{row['id']}.json").write_text(json.dumps(row))
        if samples:
            right = np.arange(1000) < 400
            ids = np.arange(1000, dtype=np.uint64)
            np.savez(folder / "cells" / f"{row['id']}.npz", sample_ids=ids, y=ids % 10, robust=right)  # fmt: skip


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_a_folder_that_is_kept_shows_the_figures_that_it_showed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = read_result(CURVE)
    assert (len(found), len(found.runs), found.problems, found.others) == (11, 55, (), 0)
    (sheet,) = make_sheets(found)
    assert [tuple(line.text for line in row.cells[0].lines) for row in sheet.rows] == SHOWN
    text = printed(capsys, "report", str(CURVE), "--details")
    markdown = printed(capsys, "report", str(CURVE), "--format", "markdown", "--details")
    page = tmp_path / "page.html"
    assert main(["report", str(CURVE), "--html", str(page)]) == 0
    for first, *others in SHOWN:
        assert all(figure in text for figure in (first, *others))
        assert f"**{first}**<br>{'<br>'.join(others)} |" in markdown
        assert f"<td>{first}</td>" in page.read_text()
    (biggio, flips) = plots(found)
    assert biggio.curves[0].budgets == flips.curves[0].budgets == (0.005, 0.01, 0.03, 0.05, 0.1)
    assert [f"{100 * point.value:.1f}" for point in biggio.curves[0].figures] == [
        "97.6", "97.2", "95.8", "95.1", "93.7"
    ]  # fmt: skip


def test_a_folder_that_is_kept_as_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(printed(capsys, "report", str(CURVE), "--format", "json"))
    assert document["schema"] == 2
    rows = [decode_row(json.dumps(row).encode()) for row in document["rows"]]
    assert rows == list(read_result(CURVE))
    for row, (value, interval, *_) in zip(rows, SHOWN, strict=True):
        found = row.attacked_accuracy
        assert found is not None
        assert (found.n_images, found.n_runs) == (10000, 5)
        assert f"{100 * found.value:.1f}" == value
        assert f"{100 * found.low:.1f}-{100 * found.high:.1f}" == interval  # type: ignore[operator]
    lines = list(csv.DictReader(io.StringIO(printed(capsys, "report", str(CURVE), "--format", "csv"))))  # fmt: skip
    assert [line["attack"] for line in lines] == [row.attack for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert line["attacked_accuracy"] == str(row.attacked_accuracy.value)  # type: ignore[union-attr]
        assert line["attacked_accuracy_low"] == str(row.attacked_accuracy.low)  # type: ignore[union-attr]
        kept = [json.loads((CURVE / "cells" / f"{run.id}.json").read_text()) for run in row.runs]
        assert len(kept) == 5
        assert float(line["attacked_accuracy"]) == pytest.approx(
            fmean(old["attacked_accuracy"] for old in kept)
        )
        flips = [old["baseline_accuracy"] for old in kept]
        if None not in flips:
            assert float(line["baseline_accuracy"]) == pytest.approx(fmean(flips))
        regions = [old["parameters"].get("found", {}).get("region") for old in kept]
        assert row.found.get("region") == (regions if len(set(regions)) > 1 else regions[0])


def test_a_folder_that_is_kept_beside_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """It has no samples to test; its figures stand on both sides."""
    document = json.loads(printed(capsys, "compare", str(CURVE), str(CURVE), "--json"))
    assert [f"{100 * pair['before']:.1f}" for pair in document["pairs"]] == [s[0] for s in SHOWN]
    for pair in document["pairs"]:
        assert pair["before"] == pair["after"]
        assert pair["problem"] == "the samples of before cannot be read"
        assert pair["runs"] == 5
    assert document["notes"] == []
    text = printed(capsys, "compare", str(CURVE), str(CURVE))
    assert "[1] the samples of before cannot be read" in text


def test_an_old_folder_beside_a_new_one(tmp_path: Path) -> None:
    """A budget that schema 1 printed to six digits is the one that it was."""
    from fastadv.report.compare import compare_grids, read_side

    eps = 8 / 255
    keep(
        tmp_path / "old",
        old_row(threat=f"linf({eps:g})", parameters={"attack": {"eps": eps}}),
        samples=True,
    )
    keep(tmp_path / "new", samples=True)
    new = evasion(
        "pgd", threat=threat.linf(eps), attacked_accuracy=0.4, weights="w",
        parameters={"attack": {"eps": eps}}, id="one",
    )  # fmt: skip
    keep(tmp_path / "new", msgspec.to_builtins(new), samples=True)
    for one, two in (("old", "new"), ("new", "old"), ("old", "old")):
        (pair,) = compare_grids(read_side(f"{tmp_path}/{one}"), read_side(f"{tmp_path}/{two}")).pairs  # fmt: skip
        assert (pair.problem, pair.scope, pair.p_value) == (None, "this model", 1.0)
        assert (pair.before, pair.after, pair.n) == (0.4, 0.4, 1000)
