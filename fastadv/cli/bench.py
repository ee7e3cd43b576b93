"""``fastadv bench``: how fast, against what, at what quality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastadv.cli import console
from fastadv.cli.grid_options import whole_number
from fastadv.errors import InputError
from fastadv.specs import closest


def bench(
    suite: Annotated[
        str, typer.Option(metavar="kernels|peers", help="What to measure.")
    ] = "kernels",
    only: Annotated[
        str, typer.Option(metavar="TEXT", help="Only the work whose name contains this.")
    ] = "",
    rounds: Annotated[str, typer.Option(metavar="N", help="Counted rounds, in turn.")] = "5",
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Keep the figures.")
    ] = None,
) -> None:
    """Measure speed, in turn with NumPy or with the libraries that are installed."""
    n_rounds = whole_number(rounds, 1, "--rounds")
    if json is not None and not json.absolute().parent.is_dir():
        raise InputError(f"--json {json}: there is no folder {json.parent}")
    messages = console.messages()
    from fastadv.cli.progress import waiting

    with waiting(messages, "loading"):
        from fastadv.benchmarks import race, suites

        if suite not in suites.SUITES:
            hint = closest(suite, list(suites.SUITES))
            raise InputError(f"no suite {suite!r}{hint} (known: {', '.join(suites.SUITES)})")
        races = [found for found in suites.SUITES[suite]() if only in found.name]
    if not races:
        raise InputError(f"--only {only}: no work of the suite {suite} has that in its name")
    from fastadv.grid.run import environment

    laps = []
    for number, chosen in enumerate(races):
        with waiting(messages, f"{number + 1} of {len(races)}: {chosen.name}"):
            laps += race.run(chosen, n_rounds)
    machine = environment()
    from fastadv.report.bench_table import bench_table

    text = f"{machine['processor']}, {machine['threads']} threads"
    console.output().print(bench_table(laps, n_rounds, text))
    if json is not None:
        import msgspec

        from fastadv.files import atomic_write

        document = {"schema": 1, "rounds": n_rounds, "environment": machine, "laps": laps}
        with atomic_write(json) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(document)))
        console.say(f"figures in {json}")
