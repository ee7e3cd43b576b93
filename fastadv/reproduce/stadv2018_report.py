"""The figures of `stadv2018`: as a table, as JSON and Markdown."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from fastadv.report.terminal_image import captioned, flow_text, image_text, in_rows
from fastadv.reproduce.figures import markdown_table, write
from fastadv.reproduce.stadv2018 import PUBLISHED, TAU, Reproduction

_HEADER = (
    "model", "accuracy %", "mode", "target", "success %", "flow loss", "largest shift",
    "mean shift", "translation",
)  # fmt: skip


def cells(found: Reproduction) -> list[list[str]]:
    """Return the rows of the table, the header first, the paper's models before ours."""
    rows = [list(_HEADER)]
    for name, (accuracy, success) in PUBLISHED.items():
        rows.append(
            [f"paper's {name}", f"{accuracy:.2f}", "published", "-", f"{success:.2f}"] + ["-"] * 4
        )
    for one in found.outcomes:
        rows.append(
            [
                f"784-{one.width}-10", f"{100 * one.accuracy:.1f}", one.mode, one.target,
                f"{100 * one.success:.1f}", f"{one.flow_loss:.2f}", f"{one.flow_max:.2f}",
                f"{one.flow_mean:.2f}", f"{one.translation:.2f}",
            ]
        )  # fmt: skip
    return rows


def explanation(found: Reproduction) -> str:
    """Return what the figures are, and why the literal mode falls short."""
    shares = {
        target: [100 * share for (_, kind), share in found.idle.items() if kind == target]
        for target in dict.fromkeys(kind for _, kind in found.idle)
    }
    ranges = "; ".join(
        f"target {target}: {min(some):.0f} to {max(some):.0f} %" for target, some in shares.items()
    )
    return (
        "Medians over successes, shifts in pixels; the flow loss is one root a pixel. The paper's "
        "models are convolutional; what it does not give is -, and it does not name its number of "
        "iterations. "
        f"Why the literal mode falls short: at tau = {TAU:g} doing nothing has a lower objective "
        "than the smallest deformation found to succeed, without a translation, for so many "
        f"images: {ranges}. And kappa = 0 puts every other minimiser on the decision boundary, "
        "where the last iterate lies on either side; the best iterate kept wins part of them back."
    )


def table(found: Reproduction) -> Table:
    """Return the paper's Table 1 with ours below it."""
    header, *rows = cells(found)
    out = Table(box=box.SIMPLE_HEAD, title="Xiao et al., ICLR 2018: Table 1")
    out.caption, out.caption_justify = explanation(found), "left"
    for name in header:
        if name in ("model", "mode", "target"):
            out.add_column(name, no_wrap=name != "mode")
        else:
            out.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in rows:
        out.add_row(*row, style="dim" if row[2] == "published" else "")
    return out


def drawing(found: Reproduction, *, color: bool, width: int) -> Text:
    """Draw some images, their deformations and what became of them."""
    drawings = []
    for one in found.examples:
        before, after = one.labels
        parts = (
            captioned(image_text(one.image, color=color), f"clean: {before}"),
            captioned(flow_text(one.flow, color=color), "flow"),
            captioned(image_text(one.attacked, color=color), f"attacked: {after}"),
        )
        drawings.append(Text.assemble(in_rows(parts, width), "\n"))
    return Text("\n").join(drawings)


def check_pictures() -> None:
    """Accept: there are no pictures to draw."""


def save(found: Reproduction, folder: Path) -> list[str]:
    """Write the numbers as JSON and Markdown; return the files' names.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """
    document = {
        "published": {
            name: {"accuracy": accuracy, "success": success}
            for name, (accuracy, success) in PUBLISHED.items()
        },
        "outcomes": [asdict(one) for one in found.outcomes],
        "idle": [
            {"width": width, "target": target, "share": share}
            for (width, target), share in found.idle.items()
        ],
    }
    header, *rows = cells(found)
    lines = markdown_table(header, rows, f"|{' --- |' * len(header)}")
    return write(folder, "stadv2018", document, [*lines, "", explanation(found)])
