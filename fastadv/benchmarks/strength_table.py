"""Our attacks beside those of other libraries, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.benchmarks.strength import SEEDS, TOLERANCE, WORST, Match
from fastadv.report.prose import Prose
from fastadv.report.table import wrap

_WIDTH = 26  # of the column of attacks; a longer spec goes on in the next line


def strength_table(matches: Sequence[Match]) -> RenderableType:
    """Return a table for each defense, and below it what is not installed."""
    parts: list[RenderableType] = []
    for defense in dict.fromkeys(match.defense for match in matches):
        parts.append(_table(defense, [match for match in matches if match.defense == defense]))
    images = " and ".join(f"{n:,}" for n in sorted({m.n for m in matches if m.n}))
    legend = (
        f"Accuracy in % under attack on the same {images} images, model and budget: the lower, the "
        "stronger. Beneath it, for attacks that look for the least change, the median distance of "
        f"what succeeds at any budget. worst: an image counts if it survives every attack of that "
        f"threat model. Of attacks that draw at random the mean over {SEEDS} seeds, and ± the "
        f"standard error of the difference. Ours may be weaker by {100 * TOLERANCE:g} points and "
        "twice that error."
    )
    absent = sorted({f"{m.library}: {m.reason}" for m in matches if m.reason is not None})
    return Group(*parts, Prose([("", legend)], style="dim"), *map(Text, absent))


def _table(defense: str, matches: Sequence[Match]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=Text(defense, style="bold"), title_justify="left")
    table.add_column("attack", overflow="fold")
    table.add_column("threat")
    table.add_column("library")
    for name in ("ours", "theirs", "differ"):
        table.add_column(name, justify="right")
    table.add_column("")
    for number, match in enumerate(matches):
        if match.theirs is None:
            continue
        if match.attack == WORST and matches[number - 1].attack != WORST:
            table.add_section()
        difference = "" if match.weaker is None else f"{100 * match.weaker:+.1f}"
        if match.error > 0:
            difference += f"\n± {100 * match.error:.1f}"
        verdict = Text("too weak", style="red") if match.too_weak else Text("")
        table.add_row(
            Text("\n".join(wrap(match.attack, _WIDTH))), match.threat, match.library,
            _figure(match.ours, match.median_ours), _figure(match.theirs, match.median_theirs),
            difference, verdict,
        )  # fmt: skip
    return table


def _figure(accuracy: float | None, median: float | None) -> Text:
    text = Text("-" if accuracy is None else f"{100 * accuracy:.1f}")
    if median is not None:
        text.append(f"\n{median:.4f}", style="dim")
    return text
