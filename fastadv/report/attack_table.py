"""What one attack did, as a small table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.metrics import wilson_interval

_BARS = "▁▂▃▄▅▆▇█"
_LEGEND = Text(" In brackets: the 95 % Wilson interval over test images.", style="dim")


@dataclass(frozen=True)
class EvasionSummary:
    """An evasion attack on one trained model.

    Attributes
    ----------
    threat : str
        What ``survive`` is conditional on.
    n, right, survive, succeed : int
        Test images; those that are right before, and still under the threat; those of the right
        ones on which the attack succeeds.
    minimum_norm : bool
        The attack looks for the smallest change, so that it succeeds at any distance.
    distances : dict
        Medians over successes.
    queries : dict
        Means over images.
    seconds : float
        Of the attack alone, without compilation.
    """

    attack: str
    model: str
    threat: str
    n: int
    right: int
    survive: int
    succeed: int
    distances: dict[str, float]
    queries: dict[str, float]
    seconds: float
    threads: int
    minimum_norm: bool = False


@dataclass(frozen=True)
class PoisoningSummary:
    """A poisoning attack and the model trained on what it left.

    Attributes
    ----------
    threat : str
        What ``survive`` is conditional on.
    n, right_before, right_after, survive : int
        Test images; how many of them are right without and with the poison; and of the latter those
        that no trigger turns.
    n_clean, points : int
        Training images, and poison points beside them.
    triggered : tuple of int or None
        Images of other classes that get the target label with the trigger on, and how many there
        are; None if there is no trigger, or no such image.
    seconds : float
        Of the attack alone.
    history : sequence of float
        The attacker's validation loss after each step.
    details : dict
        What else the attack has to tell.
    """

    attack: str
    model: str
    threat: str
    n: int
    right_before: int
    right_after: int
    survive: int
    n_clean: int
    points: int
    seconds: float
    triggered: tuple[int, int] | None = None
    history: Sequence[float] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def evasion_table(summary: EvasionSummary) -> RenderableType:
    """Return the table of an evasion attack."""
    table = _table()
    table.add_row("accuracy before", _share(summary.right, summary.n))
    table.add_row(f"accuracy under {summary.threat}", _share(summary.survive, summary.n))
    if summary.right:
        where = " at any distance" if summary.minimum_norm else ""
        table.add_row(f"success{where}", _share(summary.succeed, summary.right))
    for name, value in summary.distances.items():
        table.add_row(f"median {name.replace('_', ' ')}", f"{value:.4g}")
    for name, value in summary.queries.items():
        table.add_row(f"{name} passes an image", f"{value:,.1f}")
    speed = summary.n / max(summary.seconds, 1e-9)
    threads = f"{summary.threads} thread{'s' if summary.threads != 1 else ''}"
    table.add_row("speed", f"{speed:,.0f} images/s ({threads}, {summary.seconds:.2f} s)")
    return Group(_title(summary), table, _LEGEND)


def poisoning_table(summary: PoisoningSummary) -> RenderableType:
    """Return the table of a poisoning attack."""
    table = _table()
    table.add_row("accuracy before", _share(summary.right_before, summary.n))
    table.add_row("accuracy after", _share(summary.right_after, summary.n))
    if summary.triggered is not None:
        table.add_row("trigger gets its label", _share(*summary.triggered))
        table.add_row(f"accuracy under {summary.threat}", _share(summary.survive, summary.n))
    share = summary.points / summary.n_clean
    table.add_row("poison points", f"{summary.points:,} ({share:.2%} of {summary.n_clean:,})")
    if len(summary.history):
        first, last = summary.history[0], summary.history[-1]
        steps = f"{len(summary.history)} values"
        table.add_row("validation loss", f"{first:.4g} to {last:.4g} ({steps})")
        table.add_row("", sparkline(summary.history))
    for name, value in summary.details.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        table.add_row(Text(name.replace("_", " ")), Text(text))
    table.add_row("attack took", f"{summary.seconds:.1f} s")
    return Group(_title(summary), table, _LEGEND)


def _share(count: int, n: int) -> str:
    low, high = wilson_interval(count, n)
    return f"{count / n:.1%} ({100 * low:.1f}-{100 * high:.1f})"


def _title(summary: EvasionSummary | PoisoningSummary) -> Text:
    title = f"{summary.attack} on {summary.model}, {summary.n:,} test images"
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
