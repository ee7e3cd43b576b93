"""What a data set holds, as tables and some of its images."""

from __future__ import annotations

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.columns import Columns
from fastadv.datasets import Dataset
from fastadv.datasets.duplicates import duplicates
from fastadv.datasets.parts import PARTS
from fastadv.report.terminal_image import captioned, image_text, in_rows
from fastadv.task import Task
from fastadv.visible import visible

_PARTS = {"train": "training", "val": "validation", "test": "test"}
_COLOURS = {1: "grey", 3: "in colours"}


def data_table(dataset: Dataset) -> RenderableType:
    """Return the facts of a data set, and how many images each class has."""
    task = dataset.task
    facts = Table(box=box.SIMPLE, show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("rows" if task.columns else "images", _form(task))
    low = min(getattr(dataset, f"x_{part}").min(initial=np.inf) for part in PARTS)
    high = max(getattr(dataset, f"x_{part}").max(initial=-np.inf) for part in PARTS)
    bounds = f"{task.bounds[0]:g} to {task.bounds[1]:g}"
    facts.add_row("values", f"{low:.4g} to {high:.4g}, of {bounds} that they may have")
    facts.add_row("missing values", "none")  # a data set with some is not read
    for part in ("val", "test"):
        facts.add_row(f"{_PARTS[part]} rows", _duplicates(dataset, part))
    facts.add_row("fingerprint", dataset.fingerprint)
    for note in dataset.notes:
        facts.add_row("note", Text(note))
    tables = [facts, _classes(dataset)] + ([_columns(task.columns)] if task.columns else [])
    return Group(Text(dataset.name, style="bold"), *tables)


def _form(task: Task) -> str:
    """Return what a row is."""
    if task.columns is not None:
        return f"{task.n_features:,} columns"
    height, width, channels = task.image_shape
    colours = _COLOURS.get(channels, f"of {channels} channels")
    return f"{height} x {width} pixels, {colours}"


def _columns(columns: Columns) -> Table:
    """Return what 0 and 1 stand for in each column, and what it may be, where it is not free."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("column", style="bold", overflow="fold")
    table.add_column("0 is", justify="right")
    table.add_column("1 is", justify="right")
    if columns.bound:
        table.add_column("attacks keep it")
    group_of = {place: k for k, group in enumerate(columns.one_hot, 1) for place in group}
    for place, name in enumerate(columns.names):
        kept = "as it is" if place in columns.fixed else ""
        if place in group_of:
            kept = ", ".join(filter(None, [kept, f"one-hot, group {group_of[place]}"]))
        elif place in columns.whole and not kept:
            kept = "a whole number"
        ends = f"{columns.low[place]:.6g}", f"{columns.high[place]:.6g}"
        table.add_row(Text(visible(name)), *ends, *([kept] if columns.bound else []))
    return table


def _duplicates(dataset: Dataset, part: str) -> str:
    n, n_other = duplicates(dataset, part)
    total = len(getattr(dataset, f"y_{part}"))
    if not n:
        return f"none of {total:,} is a training row"
    others = f" ({n_other:,} under another label)" if n_other else ""
    return f"{n:,} of {total:,} are training rows{others}"


def _classes(dataset: Dataset) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("class", style="bold", overflow="fold")
    n_classes = dataset.task.n_classes
    counts = []
    for part, name in _PARTS.items():
        table.add_column(name, justify="right")
        counts.append(np.bincount(getattr(dataset, f"y_{part}"), minlength=n_classes))
    for label, name in enumerate(dataset.class_names):
        table.add_row(Text(name), *(f"{count[label]:,}" for count in counts))
    table.add_section()
    table.add_row("all", *(f"{count.sum():,}" for count in counts), style="dim")
    return table


def data_images(dataset: Dataset, n_images: int, *, color: bool, width: int) -> Text:
    """Draw the first training image of each of the first classes."""
    drawings = []
    for label, name in list(enumerate(dataset.class_names))[:n_images]:
        row = int(np.argmax(dataset.y_train == label))
        image = dataset.x_train[row].reshape(dataset.task.image_shape)
        drawing = image_text(image[..., :3], color=color, bounds=dataset.task.bounds)
        drawings.append(Text.assemble(captioned(drawing, name), "\n"))
    return in_rows(drawings, width)
