"""``fastadv grid``: attacks against defenses."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from fastadv.cli import console, several_models
from fastadv.cli.errors import FAILED, Stopped
from fastadv.cli.gates import AllowFlagged, FailUnder, stop_at
from fastadv.cli.grid_options import OUTPUT, GridOptions, resolve_grids
from fastadv.cli.specs import MODEL_HELP, complete_list
from fastadv.grid import defaults

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.report.gates import Gate


def _complete_attacks(incomplete: str) -> list[str]:
    return complete_list("attack", incomplete)


def _complete_defenses(incomplete: str) -> list[str]:
    return complete_list("defense", incomplete)


def grid(
    attacks: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...|all",
            help="Attacks, with parameters in brackets: pgd,stadv[tau=0.05]. Default: "
            f"{','.join(defaults.ATTACKS)}",
            autocompletion=_complete_attacks,
        ),
    ] = None,
    defenses: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...|all",
            help=f"Defenses. Default: {','.join(defaults.DEFENSES)}",
            autocompletion=_complete_defenses,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="See fastadv list datasets. Default: mnist"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|MODEL",
            help=f"{MODEL_HELP} Given several times: a table each, in a folder each of --output. "
            "Default: mlp",
        ),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Test images for evasion, dealt out among the runs; clean and poisoned accuracy "
            f"take all. Default: {defaults.SAMPLES}",
        ),
    ] = None,
    repeats: Annotated[
        str | None,
        typer.Option(
            "--repeats",
            "--seeds",
            metavar="N",
            help="Runs of each cell: trainings, and draws of a poisoner. Default: "
            f"{defaults.REPEATS}",
        ),
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="N", help="Of the first run. Default: 0")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="The same keys as these flags, from a file; a flag beats the file.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Where results are kept and found again. Grids may share it; fastadv report shows "
            f"the last. Default: {OUTPUT}",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run every cell again, also those that are kept.")
    ] = False,
    jobs: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Processes. Default: one a core if there is work for them, else 1"
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Longest that one training or attack may take: 90s, 10m, 1h. Default: no limit",
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT|local[N]",
            help="Run on the workers of a Dask cluster, which has to be trusted: its protocol "
            "pickles. See docs/guide/many-machines.md",
        ),
    ] = None,
    dask_mixed: Annotated[
        bool,
        typer.Option(
            "--dask-mixed",
            help="Take workers with other types of processors, too; the last digits of rows may "
            "differ, and rows say so.",
        ),
    ] = False,
    details: Annotated[
        bool,
        typer.Option("--details", help="Print all figures of each cell, and every note."),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="List what would run, how long and how large, and stop."),
    ] = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON document on standard output; of several models an array."
        ),
    ] = False,
    fail_under: FailUnder = None,
    allow_flagged: AllowFlagged = None,
) -> None:
    """Run every attack against every defense.

    "all" is every name that fastadv list shows, plug-ins among them. What is done is kept: the same
    command goes on where an earlier one stopped. --fail-under: see fastadv report --help.
    """
    from fastadv.report.gates import Gate

    gate = Gate.parse(fail_under, allow_flagged or ())
    grids = resolve_grids(
        {
            "attacks": attacks, "defenses": defenses, "dataset": dataset, "model": model,
            "samples": samples, "repeats": repeats, "seed": seed, "output": output, "jobs": jobs,
            "timeout": timeout, "dask": dask, "dask_mixed": dask_mixed or None,
        },
        config,
    )  # fmt: skip
    if gate is not None:  # a cell that is not asked for is told before the work
        from fastadv.report.names import names_before

        gate.in_full(names_before(grids[0].attacks, grids[0].defenses))
    if plan:
        for options in grids:
            _outline(options, fresh)
        return
    results = several_models.run(grids, lambda options: _run(options, fresh))
    shown: list[GridResult] = []
    for options, result in results:
        shown.append(result)
        _keep(result, Path(options.output))
        if not json:
            _print(result, details)
        _say_where(options)
    if json:
        console.print_text(several_models.as_json(shown))
    _finish(grids, shown, gate, fresh)


def _say_where(options: GridOptions) -> None:
    again = f"fastadv report {shlex.quote(options.output)}".removesuffix(f" {OUTPUT}")
    console.say(f"results in {options.output}")
    console.say(f"{again} --details · {again} --html page.html")


def _finish(
    grids: Sequence[GridOptions], results: Sequence[GridResult], gate: Gate | None, fresh: bool
) -> None:
    """Say what has not been done, or is worse than it may be; exit with 1 if there is any."""
    if len(grids) > 1:
        folders = " ".join(shlex.quote(options.output) for options in grids[:2])
        console.say(f"fastadv compare {folders}")
    runs = [run for result in results for run in result.runs]
    undone = [row.status for row in runs if row.status in ("failed", "timeout")]
    if undone:
        line = f"{len(undone)} of {len(runs)} runs failed; why stands in the table"
        if "timeout" in undone:
            line += f"; {_again(fresh)} with a longer --timeout for those that took too long"
        console.say(line)
    if gate is not None:
        stop_at(several_models.failures(grids, results, gate))
    if undone:
        raise typer.Exit(FAILED)


def _run(options: GridOptions, fresh: bool) -> GridResult:
    from fastadv.cli.progress import GridBar, waiting

    messages = console.messages()
    progress = GridBar(messages)
    try:
        with waiting(messages, "loading"):
            from fastadv.grid.run import run_grid
        asked = msgspec.structs.asdict(options)
        address, mixed = asked.pop("dask"), asked.pop("dask_mixed")
        if address is not None:
            from fastadv.grid.executors.dask import Dask

            asked["executor"] = Dask(address, mixed, asked.pop("timeout"), progress.note)
        return run_grid(**asked, fresh=fresh, progress=progress)
    except KeyboardInterrupt:
        progress.stop()
        kept = f"the finished cells are kept in {options.output}"
        raise Stopped(f"stopped; {kept}: {_again(fresh)} to go on") from None
    finally:
        progress.stop()


def _outline(options: GridOptions, fresh: bool) -> None:
    from fastadv.cli.plan_view import plan_view
    from fastadv.grid.outline import outline

    asked = msgspec.structs.asdict(options)
    for name in ("jobs", "timeout", "dask", "dask_mixed"):  # they change no number
        del asked[name]
    console.output().print(plan_view(outline(**asked, fresh=fresh)))


def _again(fresh: bool) -> str:
    return "run the same command again" + (" without --fresh" if fresh else "")


def _keep(result: GridResult, folder: Path) -> None:
    from fastadv.report.markdown import write_table

    if not write_table(result, folder):
        console.say(
            f"{folder / 'table.md'} is none of fastadv's and stays; the table is printed by "
            f"fastadv report {folder} --format markdown"
        )


def _print(result: GridResult, details: bool) -> None:
    from fastadv.report.summary_table import summary_table
    from fastadv.report.table import grid_table

    console.output().print((grid_table if details else summary_table)(result))
