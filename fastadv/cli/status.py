"""``fastadv status``: how far a grid is, while it runs and after."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastadv.cli import console
from fastadv.cli.grid_options import OUTPUT

if TYPE_CHECKING:
    from rich.table import Table

    from fastadv.grid.status import Status

_MOST = 10  # failures that are listed


def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --output of a grid.")] = Path(
        OUTPUT
    ),
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output.")
    ] = False,
) -> None:
    """Show how far a grid is: done, running, failed, and how long it will take.

    While it runs, from another terminal or another machine that sees the folder, and after.
    """
    from fastadv.grid.status import read_status

    found, now = read_status(folder), time.time()
    if json:
        import msgspec

        text = msgspec.json.format(msgspec.json.encode(_document(found, now)), indent=1)
        console.print_text(text.decode())
        return
    out = console.output()
    out.print(_heading(found, now), soft_wrap=True)
    out.print(_counts(found))
    if found.alive is not False and found.written is not None and found.written.running:
        out.print(_running(found, now))
    for row in found.failed[:_MOST]:
        cell = f"{row.attack} / {row.defense}, seed {row.seed}"
        out.print(f"{row.status}: {cell}: {row.reason}", soft_wrap=True)
    if len(found.failed) > _MOST:
        out.print(f"and {len(found.failed) - _MOST} more: fastadv report {folder} --details")
    if found.alive is False and found.waiting:
        from fastadv.report.command import grid_command

        again = f"{grid_command(found.grid)} --output {folder}"
        console.say(f"it is not running; this goes on: {again}")


def _heading(found: Status, now: float) -> str:
    """Return what is asked for, and whether it runs."""
    grid = found.grid
    n, m = len(grid["attacks"]), len(grid["defenses"])
    asked = f"{grid['dataset']}, {grid['model']}: {n} attacks, {m} defenses, {found.total:,} runs"
    written = found.written
    if found.alive is False:
        return asked + (": done" if not found.waiting else ": stopped")
    if written is None or (found.alive is None and written.ended):
        return asked
    words = [f"since {_ago(now - written.started)}"]
    if written.compiling:
        words.append(f"compiling {written.compiling}")
    left = found.left(now)
    if left is not None:
        words.append(f"about {_ago(left)} left")
    return f"{asked}: running, {', '.join(words)}"


def _counts(found: Status) -> Table:
    table = _plain()
    kept = found.written.kept if found.written else 0
    said = {"ok": "done", "skipped": "skipped", "failed": "failed", "timeout": "took too long"}
    for status_, name in said.items():
        n = found.counts.get(status_, 0)
        if n or status_ == "ok":
            from_before = f"{kept:,} of them before" if status_ == "ok" and kept else ""
            table.add_row(name, f"{n:,}", from_before)
    if found.waiting:
        table.add_row("to come", f"{found.waiting:,}", "")
    return table


def _running(found: Status, now: float) -> Table:
    table = _plain()
    assert found.written is not None
    for stage in found.written.running:
        table.add_row("running", _ago(now - stage.since), stage.label)
    return table


def _plain() -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    return table


def _ago(seconds: float) -> str:
    minutes, seconds = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02.0f}:{seconds:02.0f}"
    return f"{minutes}:{seconds:02.0f}" if minutes else f"{seconds:.0f} s"


def _document(found: Status, now: float) -> dict[str, Any]:
    running = found.written.running if found.written and found.alive is not False else []
    return {
        "grid": found.grid,
        "running": found.alive,
        "total": found.total,
        **{name: found.counts.get(name, 0) for name in ("ok", "skipped", "failed", "timeout")},
        "to_come": found.waiting,
        "seconds_left": found.left(now),
        "stages": [{"label": one.label, "seconds": now - one.since} for one in running],
        "failures": [
            {"attack": r.attack, "defense": r.defense, "seed": r.seed, "reason": r.reason}
            for r in found.failed
        ],
    }
