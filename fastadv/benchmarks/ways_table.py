"""Cells of models behind a preprocessor beside what more queries find, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.benchmarks.ways import TOLERANCE, Beside
from fastadv.report.prose import Prose
from fastadv.report.table import wrap

_WIDTH = 22  # of the column of cells; a longer one goes on in the next line
_PARTS = {"transfer": "transf.", "surrogate": "stand-in", "square": "square"}


def ways_table(cells: Sequence[Beside]) -> RenderableType:
    """Return a table for each data set, and what it says."""
    parts: list[RenderableType] = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        parts.append(_table(dataset, [cell for cell in cells if cell.dataset == dataset]))
    images = " and ".join(f"{n:,}" for n in sorted({cell.n for cell in cells}))
    legend = (
        f"Accuracy in % on the same {images} images within the budget: the lower, the stronger. "
        "cell: what a grid shows. Each alone: through, the attack through the model's own "
        "gradient or the identity's in its place; transf., what breaks the undefended model; "
        "stand-in, a smooth one that is sharpened on the way; square with 5,000 queries. "
        "together: an image counts if it survives the last three. A cell may be above that by "
        f"{100 * TOLERANCE:g} point."
    )
    return Group(*parts, Prose([("", legend)], style="dim"))


def _table(dataset: str, cells: Sequence[Beside]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(dataset, style="bold"), title_justify="left", padding=(0, 0)
    )
    table.add_column("cell", overflow="fold")
    for name in ("seed", "through", *_PARTS.values(), "together", "cell"):
        table.add_column(name, justify="right")
    table.add_column("")
    for cell in cells:
        alone = {way.partition(" ")[0]: accuracy for way, accuracy in cell.alone.items()}
        verdict = Text("too high", style="red") if cell.too_high else Text("")
        table.add_row(
            Text("\n".join(wrap(f"{cell.attack} / {cell.defense}", _WIDTH))), str(cell.seed),
            *(_figure(alone.get(way)) for way in ("through", *_PARTS)),
            _figure(cell.together), _figure(cell.cell), verdict,
        )  # fmt: skip
    return table


def _figure(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{100 * accuracy:.1f}"
