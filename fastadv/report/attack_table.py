"""What one attack did, as a small table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv import capabilities
from fastadv.experiment import Evasion, Poisoning
from fastadv.metrics import wilson_interval
from fastadv.threads import thread_count

_BARS = "▁▂▃▄▅▆▇█"
_LEGEND = Text(" In brackets: the 95 % Wilson interval over test images.", style="dim")


def attack_table(attacked: Evasion | Poisoning) -> RenderableType:
    """Return the table of an attack."""
    if isinstance(attacked, Poisoning):
        return poisoning_table(attacked)
    return evasion_table(attacked, thread_count())


def evasion_table(evasion: Evasion, n_threads: int) -> RenderableType:
    """Return the table of an evasion attack: accuracy, distances, queries and speed.

    Distances are medians over successes, queries means over images; the speed is that of the attack
    alone, on so many threads.
    """
    result, n = evasion.result, len(evasion.X)
    table = _table()
    right = int((~result.misclassified).sum())
    table.add_row("accuracy before", _share(right, n))
    survive = int(result.robust.sum())
    threat = capabilities.threat_on(evasion.attack, evasion.data.task)
    table.add_row(f"accuracy under {threat}", _share(survive, n))
    if right:
        where = " at any distance" if capabilities.minimum_norm(evasion.attack) else ""
        table.add_row(f"success{where}", _share(int(result.is_adv.sum()), right))
    for name, value in result.median_distances().items():
        table.add_row(f"median {name.replace('_', ' ')}", f"{value:.4g}")
    for name, value in result.queries.items():
        table.add_row(f"{name} passes an image", f"{value:,.1f}")
    speed = n / max(evasion.seconds, 1e-9)
    threads = f"{n_threads} thread{'s' if n_threads != 1 else ''}"
    table.add_row("speed", f"{speed:,.0f} images/s ({threads}, {evasion.seconds:.2f} s)")
    return Group(_title(evasion), table, _LEGEND)


def poisoning_table(poisoning: Poisoning) -> RenderableType:
    """Return the table of a poisoning attack: accuracy, points, validation loss and details."""
    data, result, evaluation = poisoning.data, poisoning.result, poisoning.evaluation
    y, n, details = poisoning.y, len(poisoning.y), dict(result.details)
    table = _table()
    table.add_row("accuracy before", _share(int(poisoning.right_before.sum()), n))
    table.add_row("accuracy after", _share(int((evaluation.predicted == y).sum()), n))
    if evaluation.success_rate is not None:
        others = int((y != details["target"]).sum())
        table.add_row(
            "trigger gets its label", _share(round(others * evaluation.success_rate), others)
        )
        survive = int(evaluation.survives.sum())
        table.add_row(f"accuracy under {poisoning.attack.threat()}", _share(survive, n))
    points, n_clean = len(result.index), len(data.x_train)
    table.add_row("poison points", f"{points:,} ({points / n_clean:.2%} of {n_clean:,})")
    if len(result.history):
        first, last = result.history[0], result.history[-1]
        table.add_row(
            "validation loss", f"{first:.4g} to {last:.4g} ({len(result.history)} values)"
        )
        table.add_row("", sparkline(result.history.tolist()))
    if "target" in details:
        details["target"] = data.task.name_of(details["target"])
    for name, value in details.items():
        if isinstance(value, int | float | str):
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
            table.add_row(Text(name.replace("_", " ")), Text(text))
    table.add_row("attack took", f"{poisoning.seconds:.1f} s")
    return Group(_title(poisoning), table, _LEGEND)


def _share(count: int, n: int) -> str:
    low, high = wilson_interval(count, n)
    return f"{count / n:.1%} ({100 * low:.1f}-{100 * high:.1f})"


def _title(attacked: Evasion | Poisoning) -> Text:
    asked = attacked.asked
    title = (
        f"{asked.attack} on {asked.model}, {attacked.data.name}, {len(attacked.y):,} test images"
    )
    return Text(title, style="bold")


def _table() -> Table:
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    return table


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw a curve in one line, from the smallest value to the largest.

    Examples
    --------
    >>> sparkline([1.0, 2.0, 3.0])
    '▁▅█'
    """
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[int((value - low) / span * 7 + 0.5)] for value in values)
