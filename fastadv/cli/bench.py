"""``fastadv bench``: how fast, against what, at what quality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from fastadv.cli import console
from fastadv.cli.grid_options import whole_number
from fastadv.cli.outputs import check_matplotlib, check_output, check_plot
from fastadv.errors import InputError
from fastadv.specs import closest

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fastadv.benchmarks.flows import Net
    from fastadv.benchmarks.race import Race
    from fastadv.benchmarks.scaling import Curve

    Named = TypeVar("Named", Race, Curve, Net)

Found = TypeVar("Found")

STRENGTH, WAYS, FLOWS = "strength", "ways", "flows"  # suites that judge quality, not time
SCALING = "scaling"  # one that races nobody


def bench(
    suite: Annotated[
        str,
        typer.Option(
            metavar="kernels|training|attacks|given|peers|strength|ways|flows|scaling",
            help="What to measure.",
        ),
    ] = "kernels",
    only: Annotated[
        str, typer.Option(metavar="TEXT", help="Only the work whose name contains this.")
    ] = "",
    rounds: Annotated[str, typer.Option(metavar="N", help="Counted rounds, in turn.")] = "5",
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Keep the figures.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png|svg|pdf", help="Draw what scaling found; needs the extra plot."
        ),
    ] = None,
) -> None:
    """Measure speed, in turn with NumPy or other libraries.

    given compares attacks on a module of PyTorch with its passes alone.
    strength compares how many images survive our attacks and theirs, not the time.
    ways compares cells of models behind a preprocessor with what more queries find.
    flows compares the flow loss of stadv with the least that a patient optimiser finds.
    scaling measures how time and memory of training, pgd, stadv and biggio grow with their sizes.
    """
    n_rounds = whole_number(rounds, 1, "--rounds")
    if json is not None:
        check_output("--json", json, "bench.json")
    if plot is not None:
        if suite != SCALING:
            raise InputError(f"--plot draws what --suite {SCALING} found")
        check_plot(plot)
        check_matplotlib()
        check_output("--plot", plot, "scaling.png")
    if suite == SCALING:
        _scale(only, n_rounds, json, plot)
        return
    if suite == STRENGTH:
        _compare_strength(only, json)
        return
    if suite == WAYS:
        _compare_ways(only, json)
        return
    if suite == FLOWS:
        _judge_flows(only, n_rounds, json)
        return
    messages = console.messages()
    from fastadv.cli.progress import waiting

    with waiting(messages, "loading"):
        from fastadv.benchmarks import race, suites

        if suite not in suites.SUITES:
            known = [*suites.SUITES, STRENGTH, WAYS, FLOWS, SCALING]
            raise InputError(
                f"no suite {suite!r}{closest(suite, known)} (known: {', '.join(known)})"
            )
        races = _only(only, suites.SUITES[suite](), suite)
    from fastadv.benchmarks.bench_table import bench_table
    from fastadv.grid.machine import environment

    laps: list[race.Lap] = []
    machine = environment()
    text = f"{machine['processor']}, {machine['threads']} threads"
    try:
        for number, chosen in enumerate(races):
            with waiting(messages, f"{number + 1} of {len(races)}: {chosen.name}"):
                laps += race.run(chosen, n_rounds)
    finally:  # also after Ctrl-C
        if laps:
            console.output().print(bench_table(laps, n_rounds, text))
    _keep(json, {"schema": 1, "rounds": n_rounds, "environment": machine, "laps": laps})


def _only(text: str, work: Sequence[Named], suite: str) -> list[Named]:
    """Return the work whose name contains the text, in any case."""
    chosen = [one for one in work if text.lower() in one.name.lower()]
    if not chosen:
        names = "; ".join(one.name for one in work)
        raise InputError(f"--only {text}: the suite {suite} has no such work; it has {names}")
    return chosen


def _compare_strength(only: str, json: Path | None) -> None:
    with _loading():
        from fastadv.benchmarks import strength
        from fastadv.benchmarks.strength_table import strength_table
        from fastadv.grid.machine import environment
    matches = _told(strength.matches(only=only), strength_table, "compared")
    _keep(json, {"schema": 1, "environment": environment(), "matches": matches})


def _compare_ways(only: str, json: Path | None) -> None:
    with _loading():
        from fastadv.benchmarks import ways
        from fastadv.benchmarks.ways_table import ways_table
        from fastadv.grid.machine import environment
    cells = _told(ways.beside(only=only), ways_table, "compared")
    _keep(json, {"schema": 1, "environment": environment(), "cells": cells})


def _judge_flows(only: str, rounds: int, json: Path | None) -> None:
    with _loading():
        from fastadv.benchmarks import flows
        from fastadv.benchmarks.flows_table import flows_table
        from fastadv.grid.machine import environment

        _only(only, flows.NETS, FLOWS)
    judged = _told(flows.judge_all(only, rounds), flows_table, "networks judged")
    _keep(json, {"schema": 1, "environment": environment(), "judged": judged})


def _loading() -> AbstractContextManager[None]:
    from fastadv.cli.progress import waiting

    return waiting(console.messages(), "loading")


def _told(
    coming: Iterator[Found], table: Callable[[list[Found]], RenderableType], word: str
) -> list[Found]:
    """Return all that comes, and print its table, after Ctrl-C that of what has come."""
    from fastadv.cli.progress import waiting

    found: list[Found] = []
    try:
        while True:
            with waiting(console.messages(), f"{len(found)} {word}"):
                one = next(coming, None)
            if one is None:
                return found
            found.append(one)
    finally:
        if found:
            console.output().print(table(found))


def _scale(only: str, rounds: int, json: Path | None, plot: Path | None) -> None:
    from fastadv.cli.progress import waiting

    with waiting(console.messages(), "loading"):
        from fastadv.benchmarks import scaling
        from fastadv.benchmarks.scaling_table import scaling_table
        from fastadv.grid.machine import environment

        curves = _only(only, scaling.curves(), SCALING)
    points: list[scaling.Point] = []
    machine = environment()
    text = f"{machine['processor']}, {machine['threads']} threads"
    try:
        for number, curve in enumerate(curves):
            with waiting(console.messages(), f"{number + 1} of {len(curves)}: {curve.name}"):
                points += scaling.run(curve, rounds)
    finally:
        if points:
            console.output().print(scaling_table(points, rounds, text))
    _keep(json, {"schema": 1, "rounds": rounds, "environment": machine, "points": points})
    if plot is not None:
        from fastadv.benchmarks.scaling_plot import scaling_plot

        scaling_plot(plot, points)
        console.say(f"picture in {plot}")


def _keep(file: Path | None, document: dict[str, Any]) -> None:
    if file is None:
        return
    import msgspec

    from fastadv.files import atomic_write

    with atomic_write(file) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(document)))
    console.say(f"figures in {file}")
