"""All that is known of one cell, as data without layout: what the terminal and the page tell of it.

`story` is of an attack against a defense, the clean row among them; `worst_story` of the worst case
of several attacks. Files are data from outside: what they do not hold, or hold in another shape, a
story leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from fastadv.grid.row import Figure, Flag, Run
from fastadv.grid.worst import WORST, Worst, worst_case
from fastadv.report.command import cells_command
from fastadv.report.gallery import Picture, pictures
from fastadv.report.names import Names
from fastadv.report.patterns import Pattern
from fastadv.specs import format_value

if TYPE_CHECKING:
    from fastadv.arrays import Arrays
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Certified, Row
    from fastadv.runs import Answers
    from fastadv.threat import Threat

Kind = Literal["clean", "evasion", "poisoning", "worst"]
Unit = Literal["percent", "points"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_FAR = 1.5  # times the 99 % quantile: where the largest distance is beyond, a histogram ends there
_ALIKE = 1e-5  # of the largest value: smaller differences are float32's rounding


@dataclass(frozen=True)
class Stated:
    """One figure of a cell, with its words.

    Attributes
    ----------
    name : str
        A word or two: ``accuracy``, ``points lost``.
    figure : Figure
        A share, or a difference of two.
    unit : str
        What 100 times the figure is: ``percent``, or ``points`` of accuracy.
    meaning : str
        What it is, in a line.
    """

    name: str
    figure: Figure
    unit: Unit
    meaning: str


@dataclass(frozen=True)
class Outcome:
    """What became of the ``n`` images of an evasion cell, all runs together.

    Attributes
    ----------
    wrong : int
        The model was wrong before the attack.
    turned : int
        Right before, and turned within the budget.
    beyond : int
        Right before, and turned at a larger distance only.
    never : int
        Right before, and not turned at all.
    """

    n: int
    wrong: int
    turned: int
    beyond: int
    never: int


@dataclass(frozen=True)
class Histogram:
    """Counts (b,) between edges (b + 1,); ``above`` counts what is larger than the last edge."""

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    above: int


@dataclass(frozen=True)
class Distance:
    """How far the images were moved that the attack turned, at any distance.

    Attributes
    ----------
    name : str
        ``linf``, ``l2``, ``flow_loss``, ...; the first of a story is what the budget bounds.
    values : ndarray of shape (n,)
        One for each such image, all runs together.
    quantiles : tuple of float
        At `QUANTILES`. The median is that of all images; ``row.distances`` has the mean of the
        runs' medians.
    budget : float or None
        What the values are bounded by, where the threat bounds this distance.
    """

    name: str
    values: npt.NDArray[np.float64]
    quantiles: tuple[float, ...]
    budget: float | None = None

    def histogram(self, bins: int = 24) -> Histogram:
        """Return counts in about so many bins of one width, those of alike values in one.

        The budget is an edge, unless it is nearer to 0 than a bin is wide. The last bin ends at the
        99 % quantile where the largest value is far beyond it.
        """
        low, high = float(self.values.min()), float(self.values.max())
        most = float(np.quantile(self.values, 0.99))
        high = most if high > _FAR * most else high
        if high - low <= _ALIKE * abs(high):
            return Histogram(np.array([low, high]), np.array([len(self.values)]), 0)
        width, start = (high - low) / bins, low
        if self.budget is not None and width <= self.budget < high:
            width = self.budget / np.rint(self.budget / width)
            start = np.floor(low / width) * width
        n = int(np.ceil((high - start) / width - 1e-6))
        edges = np.asarray(start + width * np.arange(n + 1), dtype=np.float64)
        # Rounding may put the smallest or the largest value a little outside.
        edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
        counts, _ = np.histogram(self.values, edges)
        return Histogram(edges, counts, int((self.values > edges[-1]).sum()))


@dataclass(frozen=True)
class Story:
    """One cell.

    Attributes
    ----------
    attack, defense : str
        As the gates and ``--cell`` name them; the attack of a worst case is ``worst``, of the clean
        row ``none``.
    kind : str
        ``clean``, ``evasion``, ``poisoning`` or ``worst``.
    dataset, model : str
    threat : Threat or None
        What ``figure`` is conditional on.
    status, reason : str, str or None
        ``ok``; else what became of it (``skipped``, ``failed``, ``timeout``), and why.
    figure : Figure or None
        The accuracy to quote, with its interval; None where there is none.
    clean : Figure or None
        Of the defended model, on test images without attack.
    lost, flips_lost : Figure or None
        Poisoning: the points of clean accuracy that it takes, and those that as many random flips
        take, paired by run and image.
    flips : Figure or None
        Poisoning: the accuracy with random flips in its place.
    benign, obey : Figure or None
        Backdoors: the accuracy on images without the trigger; the share of triggered images of
        other classes that get the target label.
    success : Figure or None
        Evasion: turned at any distance, among the images that were right before.
    oblivious : Figure or None
        The accuracy under an attack that does not know the defense.
    certified : Certified or None
        What the defense certifies, and within which threat.
    runs : tuple of Run
        One by one: seed, images, accuracies, draw of the poison.
    draws : int
        How many different draws of the poison the runs are of; 0 where there is none.
    outcome : Outcome or None
        Evasion: what became of the images.
    distances : tuple of Distance
        Evasion; what the budget bounds comes first.
    poison, sanitized : dict of float, or None
        ``points`` and ``fraction``; ``caught``, ``caught_oblivious``, ``lost``, ``relabelled``,
        which are shares. See `fastadv.grid.row.Row`.
    found : dict
        What else the attack returned.
    parameters : dict of dict
        Of the ``attack``, the ``defense`` and the ``model``, every one.
    queries, seconds : dict of float
        Passes an image by direction, the mean over runs; seconds by stage, their sum.
    flags, notes : tuple of Flag
        Why the figure is not to be trusted; what else to know. Each has a remedy, or an empty one.
    parts : tuple of (str, Figure or None)
        A worst case: the attacks that count, and the accuracy under each.
    missing : tuple of str
        A worst case: attacks that have no figure; with them it could only be lower.
    command : str
        What computes the cell again.
    pictures : tuple of Picture
        Kept images, of the first run, before and after; of poison the points that were added.
    """

    attack: str
    defense: str
    kind: Kind
    dataset: str
    model: str
    command: str
    threat: Threat | None = None
    status: str = "ok"
    reason: str | None = None
    figure: Figure | None = None
    clean: Figure | None = None
    lost: Figure | None = None
    flips: Figure | None = None
    flips_lost: Figure | None = None
    benign: Figure | None = None
    obey: Figure | None = None
    success: Figure | None = None
    oblivious: Figure | None = None
    certified: Certified | None = None
    runs: tuple[Run, ...] = ()
    draws: int = 0
    outcome: Outcome | None = None
    distances: tuple[Distance, ...] = ()
    poison: dict[str, float] | None = None
    sanitized: dict[str, float] | None = None
    found: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    queries: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    notes: tuple[Flag, ...] = ()
    parts: tuple[tuple[str, Figure | None], ...] = ()
    missing: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def name(self) -> str:
        """``ATTACK/DEFENSE``."""
        return f"{self.attack}/{self.defense}"

    @property
    def figures(self) -> tuple[Stated, ...]:
        """The figures that there are, each with its words; the one that the table shows first."""
        certified = self.certified
        within = f"are right, and provably stay so within {certified.threat}" if certified else ""
        stated: list[tuple[str, Figure | None, Unit, str]] = [
            ("points lost", self.lost, "points", "of clean accuracy, to the poison"),
            ("random flips", self.flips_lost, "points", "lost to as many random label flips"),
            ("accuracy", self.figure, "percent", _QUOTED[self.kind].format(self.threat)),
            ("clean", self.clean, "percent", "of test images are right without an attack"),
            ("with flips", self.flips, "percent", "are right with random flips as the poison"),
            ("benign", self.benign, "percent", "are right without the trigger"),
            ("obey", self.obey, "percent", "of triggered images get the target label"),
            ("oblivious", self.oblivious, "percent", _OBLIVIOUS),
            ("success", self.success, "percent", "of those right before are turned, however far"),
            ("certified", certified.accuracy if certified else None, "percent", within),
        ]
        if self.kind == "clean":  # what is quoted is the clean accuracy
            stated = [one for one in stated if one[0] != "clean"]
        return tuple(
            Stated(name, figure, unit, meaning) for name, figure, unit, meaning in stated if figure
        )


_QUOTED = {
    "clean": "of test images are right",
    "evasion": "are right, and stay so within {}",
    "poisoning": "are right after training on the poisoned set",
    "worst": "are right, and stay so under every attack within {}",
}
_OBLIVIOUS = "are right under an attack that does not know the defense"


def value_text(value: Any, between: str) -> str:
    """Return a value as a spec has it; of what each run found, one behind the other.

    ``between`` stands between the parts of one that has several by their names.
    """
    if isinstance(value, Mapping):
        return between.join(f"{name} {value_text(part, between)}" for name, part in value.items())
    if isinstance(value, list) and any(isinstance(part, Mapping | list | str) for part in value):
        return " | ".join(value_text(part, between) for part in value)
    return format_value(value)


def stories(result: GridResult, name: str, where: str) -> list[Story]:
    """Return the stories of the cells that ``ATTACK/DEFENSE`` names, in the order of the rows.

    Of several datasets or models, and of a worst case under several threats, there are several.

    Raises
    ------
    InputError
        If it names no cell, or could mean several attacks; ``where`` is what the error names.
    """
    alone = len({(row.dataset, row.model) for row in result}) == 1  # else they mix them
    cases = [c for c in result.worst if alone and len(c.attacks) + len(c.missing) > 1]
    cells = [*((row.attack, row.defense) for row in result), *((WORST, c.defense) for c in cases)]
    pattern = Names(cells, result.rows).meant(Pattern.parse(name, where), where)
    rows = [row for row in result if pattern.names(row.attack, row.defense)]
    named = [case for case in cases if pattern.names(WORST, case.defense)]
    return [*(story(result, row) for row in rows), *(worst_story(result, c) for c in named)]


def story(result: GridResult, row: Row) -> Story:
    """Return all that is known of a row's cell; its samples are read, once."""
    arrays = result.samples(row) or {}
    kind: Kind = "clean" if row.kind == "none" else row.kind  # type: ignore[assignment]
    poisoned = row.kind == "poisoning"
    return Story(
        attack=row.attack, defense=row.defense, kind=kind, dataset=row.dataset, model=row.model,
        command=cells_command(result, [row]), threat=row.threat, status=row.status,
        reason=row.reason, figure=row.attacked_accuracy, clean=row.clean_accuracy,
        lost=row.accuracy_lost, flips=row.baseline_accuracy, flips_lost=row.baseline_lost,
        benign=row.benign_accuracy, obey=row.success_rate if poisoned else None,
        success=None if poisoned else row.success_rate, oblivious=row.oblivious_accuracy,
        certified=row.certified, runs=tuple(row.runs),
        draws=len({run.draw for run in row.runs if run.draw is not None}),
        outcome=_outcome(arrays) if row.kind == "evasion" else None,
        distances=_distances(row, arrays), poison=row.poison, sanitized=row.sanitized,
        found=row.found, parameters=row.parameters, queries=row.queries, seconds=row.seconds,
        flags=tuple(row.flags), notes=tuple(row.notes), pictures=pictures(row, arrays),
    )  # fmt: skip


def _outcome(arrays: Arrays) -> Outcome | None:
    y, clean = arrays.get("y"), arrays.get("clean")
    robust, is_adv = arrays.get("robust"), arrays.get("is_adv")
    if y is None or clean is None or robust is None or is_adv is None:
        return None
    if not y.shape == clean.shape == robust.shape == is_adv.shape:
        return None
    wrong = clean != y
    beyond, never = robust & is_adv & ~wrong, robust & ~is_adv & ~wrong
    rest = len(y) - int(wrong.sum()) - int(beyond.sum()) - int(never.sum())
    return Outcome(len(y), int(wrong.sum()), rest, int(beyond.sum()), int(never.sum()))


def _distances(row: Row, arrays: Arrays) -> tuple[Distance, ...]:
    is_adv = arrays.get("is_adv")
    if row.kind != "evasion" or is_adv is None or row.threat is None:
        return ()
    bound = row.threat.distance
    found = []
    for name in sorted(row.distances, key=lambda name: name != bound):
        values = arrays.get(name)
        if values is None or values.shape != is_adv.shape or values.dtype.kind != "f":
            continue
        known = values[is_adv.astype(bool) & np.isfinite(values)].astype(np.float64)
        if len(known):
            quantiles = tuple(float(q) for q in np.quantile(known, QUANTILES))
            budget = row.threat.budget if name == bound else None
            found.append(Distance(name, known, quantiles, budget))
    return tuple(found)


def worst_story(result: GridResult, case: Worst) -> Story:
    """Return all that is known of a worst case: its attacks, and its figure run by run."""
    rows = [
        row
        for row in result.rows
        if row.kind == "evasion" and row.threat == case.threat and row.defense == case.defense
        if row.status != "skipped"
    ]
    counted = [row for row in rows if row.attack in case.attacks]
    first, found = counted[0], worst_case(rows, result.samples)
    parameters = {k: v for k, v in first.parameters.items() if k != "attack"}
    return Story(
        attack=WORST, defense=case.defense, kind="worst", dataset=first.dataset, model=first.model,
        command=cells_command(result, rows), threat=case.threat, figure=case.accuracy,
        clean=first.clean_accuracy, runs=_runs(first.runs, found[1]) if found else (),
        parameters=parameters, parts=tuple((row.attack, row.attacked_accuracy) for row in counted),
        missing=case.missing,
        flags=tuple(
            Flag(flag.name, f"{row.attack}: {flag.message}", flag.remedy)
            for row in counted
            for flag in row.flags
        ),
    )  # fmt: skip


def _runs(runs: Sequence[Run], robust: Answers) -> tuple[Run, ...]:
    """Return the runs of an attack with the accuracy of the worst case in place of its own."""
    of_seed = {run.seed: robust.value[robust.run == run.seed] for run in runs}
    return tuple(
        msgspec.structs.replace(
            run, n_images=len(of_seed[run.seed]), attacked_accuracy=float(of_seed[run.seed].mean()),
            oblivious_accuracy=None,
        )
        for run in runs
        if len(of_seed[run.seed])
    )  # fmt: skip
