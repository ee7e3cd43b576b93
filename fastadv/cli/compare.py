"""``fastadv compare``: two grids or two benchmarks, what changed, and whether that is chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastadv.cli import console
from fastadv.cli.gates import AllowFlagged, FailUnder, stop_at
from fastadv.errors import InputError

if TYPE_CHECKING:
    from fastadv.report.gates import Gate


def compare(
    before: Annotated[
        str,
        typer.Argument(
            metavar="A", help="The --output of a grid, DIR:DEFENSE for one defense, or a bench file"
        ),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same kind, to compare with A")],
    fail_under: FailUnder = None,
    allow_flagged: AllowFlagged = None,
    fail_on_regression: Annotated[
        bool,
        typer.Option(
            "--fail-on-regression",
            help="Exit 1 if B is significantly worse in a cell, or slower by over 25 %; says where "
            "it cannot tell.",
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output.")
    ] = False,
) -> None:
    """Compare two grids, two defenses of one, or two bench files.

    Two defenses: fastadv compare DIR:none DIR:median. Runs are paired by seed, on the same test
    images. One run tells nothing of two trainings, or of poison: such cells are unknown, which does
    not fail; two figures of one trained model are compared on its images. --fail-under judges cells
    of B: see fastadv report --help.
    """
    from fastadv.report.gates import Gate

    gate = Gate.parse(fail_under, allow_flagged or ())
    if Path(before).is_file() != Path(after).is_file():
        raise InputError(f"{before} and {after}: one is a file; give two grids or two bench files")
    if Path(before).is_file():
        failures = _compare_bench(before, after, gate, fail_on_regression, json)
    else:
        failures = _compare_grids(before, after, gate, fail_on_regression, json)
    stop_at(failures)


def _compare_grids(
    before: str, after: str, gate: Gate | None, regress: bool, json: bool
) -> list[str]:
    from fastadv.report import compare, compare_table

    sides = compare.read_side(before), compare.read_side(after)
    comparison = compare.compare_grids(*sides)
    failures = [] if gate is None else gate.failures(sides[1].result)
    if regress:
        failures += compare.regressions(comparison)
        for line in compare.untold(comparison):
            console.say(f"fastadv: {line}")
    if json:
        console.print_text(compare_table.compare_json(comparison, failures))
    else:
        console.output().print(compare_table.compare_table(comparison))
    return failures


def _compare_bench(
    before: str, after: str, gate: Gate | None, regress: bool, json: bool
) -> list[str]:
    from fastadv.benchmarks import compare_bench, compare_table

    if gate is not None:
        raise InputError("--fail-under is for grids: a bench file has no accuracy under attack")
    files = compare_bench.read_bench(Path(before)), compare_bench.read_bench(Path(after))
    comparison = compare_bench.compare_bench(*files, before, after)
    failures = compare_bench.slower(comparison) if regress else []
    if json:
        console.print_text(compare_table.bench_compare_json(comparison, failures))
    else:
        console.output().print(compare_table.bench_compare_table(comparison))
    return failures
