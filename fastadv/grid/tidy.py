"""A grid as tables with one row a cell: every column, its type, its unit and what it means.

`CELLS` is the one definition that CSV, Parquet and `GridResult.to_frame` come from; the columns of
single images are in `fastadv.grid.tidy_samples`. A table has the same columns whatever its rows
have. Only ``float64`` can be missing, as NaN; a text of which there is none is `NOTHING`: so every
reader tells the types from the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays
from fastadv.grid.several import join

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Figure, Row

Dtype = Literal["string", "int64", "float64", "bool"]
NOTHING = "none"  # a text of which there is none; it is what attacks and defenses call it, too

Source = TypeVar("Source")


@dataclass(frozen=True)
class Column(Generic[Source]):
    """A column, and where its values come from.

    Attributes
    ----------
    name : str
    dtype : str
        ``string``, ``int64``, ``float64`` or ``bool``.
    unit : str
        Of its numbers; empty of a text.
    meaning : str
        A line.
    of : callable
        Returns the value of a row; of a table of images, of all images that it is given. None
        where there is none.
    """

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    of: Callable[[Source], Any]


@dataclass(frozen=True)
class Table:
    """A table that is made as it is read, so that it need not be held.

    Attributes
    ----------
    columns : tuple of Column
    chunks : callable
        Returns the rows, a part at a time: by the names of the columns, arrays (n,) of their types;
        texts are arrays of ``str`` objects.
    """

    columns: tuple[Column[Any], ...]
    chunks: Callable[[], Iterator[Arrays]]


def array(values: Sequence[Any], dtype: Dtype) -> npt.NDArray[Any]:
    """Return the values of a column; None is what says that there is none."""
    if dtype == "float64":
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if dtype == "string":
        out = np.empty(len(values), dtype=object)
        out[:] = [NOTHING if value in (None, "") else str(value) for value in values]
        return out
    return np.array(values, dtype=np.int64 if dtype == "int64" else np.bool_)


# -- where values come from -----------------------------------------------------------------


def _texts(*columns: tuple[str, str, Callable[[Row], str | None]]) -> list[Column[Row]]:
    return [Column(name, "string", "", meaning, of) for name, meaning, of in columns]


def _figure(name: str, meaning: str, of: Callable[[Row], Figure | None]) -> list[Column[Row]]:
    """Return the five columns of a figure."""

    def part(field: str, absent: Any = None) -> Callable[[Row], Any]:
        def value(row: Row) -> Any:
            figure = of(row)
            return absent if figure is None else getattr(figure, field)

        return value

    beneath = "that it stands on; 0 where it is missing"
    return [
        Column(name, "float64", "share", meaning, part("value")),
        Column(f"{name}_low", "float64", "share", "of its 95 % interval", part("low")),
        Column(f"{name}_high", "float64", "share", "of its 95 % interval", part("high")),
        Column(f"{name}_n_images", "int64", "images", beneath, part("n_images", 0)),
        Column(f"{name}_n_runs", "int64", "runs", beneath, part("n_runs", 0)),
    ]


def _accuracy(name: str, meaning: str) -> list[Column[Row]]:
    return _figure(name, meaning, lambda row: getattr(row, name))


def _entry(record: str, key: str, unit: str, meaning: str) -> Column[Row]:
    """Return the column of a number in one of a row's records: ``distance_l2``."""
    prefix = {"distances": "distance"}.get(record, record)

    def value(row: Row) -> float | None:
        return (getattr(row, record) or {}).get(key)

    return Column(f"{prefix}_{key}", "float64", unit, meaning, value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _n_runs(row: Row) -> int:
    return len(row.runs) or int(row.status == "ok")


# Name, unit, meaning: of a cell the median over its adversarial images, of an image its own.
DISTANCES = (
    ("linf", "pixel values", "largest change of a pixel; of a column as a share of its range"),
    ("l2", "pixel values", "Euclidean norm of the change; likewise"),
    ("flow_loss", "flow loss", "stadv: the flow loss of the paper, one root a pixel, summed"),
    ("flow_max", "pixels", "stadv: length of the longest vector of the flow"),
    ("flow_mean", "pixels", "stadv: mean length of its vectors"),
    ("shift", "pixels", "stadv: largest shift along an axis"),
    ("translation", "pixels", "stadv: length of the flow's mean; spatial: along the longer axis"),
    ("rotation", "degrees", "spatial: angle of the turn"),
    ("spatial", "share", "spatial: the larger of both as a share of what is allowed"),
)


def distance(name: str) -> Column[Row]:
    """Return the column of a distance that an attack from outside measures."""
    return _entry("distances", name, "the attack's", "median of a distance of the attack's own")


CELLS: tuple[Column[Row], ...] = (
    *_texts(
        ("id", "names the cell's files: cells/ID.json; of several runs the first", lambda r: r.id),
        ("dataset", "as it is written in a command", lambda r: r.dataset),
        ("model", "as it is written in a command", lambda r: r.model),
        ("attack", "as it is written in a command; none in the clean row", lambda r: r.attack),
        ("defense", "as it is written in a command", lambda r: r.defense),
        ("kind", "none (the clean row), evasion or poisoning", lambda r: r.kind),
        ("threat", "what the attack may do, as --details prints it",
         lambda r: str(r.threat or "")),
        ("threat_kind", "linf, l2, flow, shift, rotation_translation, poison, points, trigger or "
         "trigger_points", lambda r: r.threat.kind if r.threat else None),
    ),
    Column("threat_budget", "float64", "of the kind", "how much of it; 1 of several limits",
           lambda r: r.threat and r.threat.budget),
    *_texts(
        ("threat_unit", "of range: the budget is in units of each column's range, of tables; none: "
         "of the kind", lambda r: r.threat.unit if r.threat else None),
    ),
    Column("seed", "int64", "", "of the run; of several the first", lambda r: r.seed),
    *_texts(
        ("status", "ok, failed, timeout or skipped", lambda r: r.status),
        ("reason", "why it has no figure", lambda r: r.reason),
    ),
    Column("n_images", "int64", "images", "different test images behind attacked_accuracy",
           lambda r: r.n),
    Column("n_runs", "int64", "runs", "trainings behind the row", _n_runs),
    *_accuracy("clean_accuracy", "of the defended model, without attack or poison"),
    *_accuracy("attacked_accuracy", "the figure to quote: right under an attack that knows the "
               "defense and keeps to its budget, or after training on poison"),
    *_accuracy("oblivious_accuracy", "under an attack that does not know the defense"),
    *_accuracy("success_rate", "evasion: adversarial images at any distance among those that were "
               "right; backdoors: triggered images that get the target label"),
    *_accuracy("baseline_accuracy", "poisoning: after as many random flips in place of the poison"),
    *_accuracy("accuracy_lost", "poisoning: clean less attacked accuracy, paired by run and image"),
    *_accuracy("baseline_lost", "poisoning: clean less baseline accuracy, paired likewise"),
    *_accuracy("benign_accuracy", "backdoors: of the poisoned model without the trigger"),
    *_figure("certified_accuracy", "certified to stay right within certified_threat",
             lambda r: r.certified.accuracy if r.certified else None),
    *_texts(
        ("certified_threat", "what the certificate is for",
         lambda r: str(r.certified.threat) if r.certified else None),
    ),
    *(_entry("distances", name, unit, f"median over adversarial images: {meaning}")
      for name, unit, meaning in DISTANCES),
    _entry("queries", "forward", "passes", "forward passes an image, in the mean"),
    _entry("queries", "backward", "passes", "backward passes an image, in the mean"),
    _entry("poison", "points", "points", "added training points"),
    _entry("poison", "fraction", "share", "added points over clean ones"),
    _entry("sanitized", "lost", "share", "clean training images that a sanitizer dropped or gave "
           "another label"),
    _entry("sanitized", "relabelled", "share", "of what it kept, with another label"),
    _entry("sanitized", "caught", "share", "poison that it dropped or gave its true label back"),
    _entry("sanitized", "caught_oblivious", "share", "that, of poison that does not know it"),
    _entry("seconds", "fit", "s", "training, the runs' sum, as are all times"),
    _entry("seconds", "poison", "s", "making the poison"),
    _entry("seconds", "perturb", "s", "attacking the images"),
    _entry("seconds", "certify", "s", "certifying"),
    _entry("seconds", "compile", "s", "compiling kernels"),
    *_texts(
        ("weights", "hash of the trained model; of several runs each has its own",
         lambda r: r.weights),
        ("draw", "hash of the poison; likewise", lambda r: r.draw),
    ),
    Column("flagged", "bool", "", "the figure is not to be trusted", lambda r: bool(r.flags)),
    *_texts(
        ("flags", "why, by name, with spaces between", lambda r: " ".join(f.name for f in r.flags)),
        ("notes", "what else to know of it, by name", lambda r: " ".join(n.name for n in r.notes)),
        ("found", "what else the attack returned, as JSON", lambda r: _json(r.found)),
        ("parameters", "of attack, defense and model, as JSON", lambda r: _json(r.parameters)),
    ),
)  # fmt: skip


# -- tables ---------------------------------------------------------------------------------


def cell_table(result: GridResult) -> Table:
    """Return a row a cell, over its runs."""
    return _table(result.rows, lambda: result.rows)


def run_table(result: GridResult) -> Table:
    """Return a row a cell and run, of the same columns."""

    def rows() -> list[Row]:  # each with what poison takes, which is told from its images
        return [row for run in result.runs for row in join([run], result.samples)]

    return _table(result.runs, rows)


def other_distances(rows: Sequence[Row]) -> list[str]:
    """Return the distances of attacks from outside, in alphabetical order."""
    known = {name for name, *_ in DISTANCES}
    return sorted({name for row in rows for name in row.distances} - known)


def _table(known: Sequence[Row], rows: Callable[[], Sequence[Row]]) -> Table:
    columns = (*CELLS, *map(distance, other_distances(known)))

    def chunks() -> Iterator[Arrays]:
        found = rows()
        yield {c.name: array([c.of(row) for row in found], c.dtype) for c in columns}

    return Table(columns, chunks)
