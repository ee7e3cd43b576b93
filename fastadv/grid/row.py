"""The result of a cell, as it is kept, printed as JSON and handed to every table.

Schema 2. A folder of schema 1 still reads: `upgraded` makes of its rows what they would be now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from fastadv.arrays import Mask
from fastadv.metrics import wilson_interval
from fastadv.threat import Threat

SCHEMA = 2
REFIT = "refit"  # the note on a row of a given model's clone that was trained anew
WAITING = "waiting"  # the status of a row that is still to come; no file has it


# What a number of a file may be; anyone can have written it.
Share = Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)]  # or a difference of two
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Kind = Annotated[str, msgspec.Meta(pattern="^(none|evasion|poisoning)$")]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Figure(msgspec.Struct, frozen=True):
    """A share in [0, 1], or a difference of two, and its 95 % interval.

    Attributes
    ----------
    value : float
    low, high : float or None
        None where the number of images is not known.
    n_images, n_runs : int
        Different test images, and trainings, that it stands on.
    """

    value: Share
    low: Share | None
    high: Share | None
    n_images: Count
    n_runs: Positive = 1

    def __float__(self) -> float:
        return self.value

    @classmethod
    def of(cls, right: Mask) -> Figure | None:
        """Return the share of True, with Wilson's interval; None of nothing."""
        return cls.of_count(int(right.sum()), len(right))

    @classmethod
    def of_count(cls, count: int, n: int) -> Figure | None:
        """Return the share of ``count`` in ``n`` images, with Wilson's interval; None of none."""
        return cls(count / n, *wilson_interval(count, n), n) if n else None


class Certified(msgspec.Struct, frozen=True):
    """The share of images that are certified to stay right within a threat model."""

    threat: Threat
    accuracy: Figure


class Flag(msgspec.Struct, frozen=True):
    """Something to know before a figure is used: its name, what it is, and what to do about it."""

    name: str
    message: str
    remedy: str = ""


class Run(msgspec.Struct, frozen=True):
    """One of the runs (trainings) behind the figures of a cell.

    Attributes
    ----------
    id : str
        Names its files.
    n_images : int
        Test samples behind ``attacked_accuracy``.
    """

    id: str
    seed: Seed
    n_images: Count
    clean_accuracy: Share | None = None
    benign_accuracy: Share | None = None
    attacked_accuracy: Share | None = None
    oblivious_accuracy: Share | None = None
    baseline_accuracy: Share | None = None
    weights: str | None = None
    draw: str | None = None


class Row(msgspec.Struct, kw_only=True):
    """The result of one cell, of one run or of several; every time in seconds.

    A file holds one run. Of several, figures are means over runs, numbers too, and times sums.

    Attributes
    ----------
    threat : Threat or None
        What ``attacked_accuracy`` is conditional on.
    seed : int
        Of the run; of several the first.
    dealt : (int, int)
        ``(k, R)``: of the test images for evasion attacks the row has the k-th, the (k + R)-th, ...
    n : int
        Test samples behind ``attacked_accuracy``.
    clean_accuracy : Figure
        Of this cell's defended model, on clean test images, without poison in its training set.
    benign_accuracy : Figure or None
        Backdoors: of the poisoned model, on test images without the trigger.
    attacked_accuracy : Figure
        The figure to quote. Evasion: images still right under an attack that knows the defense.
        Poisoning: test accuracy after training on the poisoned set; of a backdoor, an image counts
        if it is right and, unless it is of the target class, does not get the target label with
        the trigger on.
    oblivious_accuracy : Figure or None
        Under an attack that does not know the defense: of a wrapped model, or after training on
        poison that was not kept inside what a sanitizer accepts.
    baseline_accuracy : Figure or None
        Poisoning: ``attacked_accuracy`` with the baseline in place of the poison: as many random
        flips.
    accuracy_lost, baseline_lost : Figure or None
        Poisoning, of a grid's row: what ``attacked_accuracy`` and ``baseline_accuracy`` are below
        ``clean_accuracy``, paired by run and image; negative where they are above.
    success_rate : Figure or None
        Evasion: adversarial images found at any distance, also beyond the budget, among the images
        that were right before (`EvasionResult.success_rate` counts within it). Backdoors: the share
        of triggered images of other classes that get the target label.
    certified : Certified or None
        What the defense certifies at the budget of the row, over the images of evasion attacks.
    distances : dict
        Medians over the adversarial images, at any distance.
    poison : dict or None
        ``points``, and their ``fraction`` of the clean training set.
    found : dict
        What else the attack returned.
    sanitized : dict or None
        What a sanitizer did to the set that ``attacked_accuracy`` was trained on: ``lost``, the
        share of clean images that it dropped or gave another label; ``relabelled``, the share of
        what it kept that got another label; ``caught``, the share of the poison that it dropped or
        gave back the label of the image that it started as (absent without poison);
        ``caught_oblivious``, that share of the poison behind ``oblivious_accuracy``. Null for other
        defenses and for evasion.
    weights : str or None
        The hash of the trained model behind ``attacked_accuracy``, without a wrapper: figures of
        one hash are of one training. Of several runs each has its own.
    draw : str or None
        The hash of the poison: runs of one hash were poisoned alike, and differ by their trainings
        alone. Of several runs each has its own.
    flags : list of Flag
        Why the figure is not to be trusted; a gate fails on them.
    notes : list of Flag
        What else to know of the figure, which stands as it is; no gate fails on them.
    runs : list of Run
        Of a grid's row, the runs behind its figures; empty in a file of one run.
    parameters : dict of dict
        Of the attack, the defense and the model, every one.
    """

    schema: int = SCHEMA
    id: str
    dataset: str
    model: str
    attack: str
    defense: str
    seed: Seed
    kind: Kind
    threat: Threat | None = None
    status: str = "ok"
    reason: str | None = None
    dealt: tuple[Count, Positive] = (0, 1)
    n: Count = 0
    clean_accuracy: Figure | None = None
    benign_accuracy: Figure | None = None
    attacked_accuracy: Figure | None = None
    success_rate: Figure | None = None
    oblivious_accuracy: Figure | None = None
    baseline_accuracy: Figure | None = None
    accuracy_lost: Figure | None = None
    baseline_lost: Figure | None = None
    certified: Certified | None = None
    distances: dict[str, float] = {}
    poison: dict[str, float] | None = None
    found: dict[str, Any] = {}
    sanitized: dict[str, float] | None = None
    queries: dict[str, float] = {}
    seconds: dict[str, float] = {}
    weights: str | None = None
    draw: str | None = None
    flags: list[Flag] = []
    notes: list[Flag] = []
    runs: list[Run] = []
    parameters: dict[str, dict[str, Any]] = {}


def decode_json(text: bytes) -> Any:
    """Return what JSON says.

    Raises
    ------
    msgspec.MsgspecError
        If it is none.
    """
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:  # no UTF-8; brackets a thousand deep
        raise msgspec.DecodeError(str(error)) from None


def decode_row(text: bytes) -> Row:
    """Read a row of this schema, or of the one before.

    Raises
    ------
    msgspec.MsgspecError
        If it is neither.
    """
    document = decode_json(text)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema not in (1, SCHEMA):
        raise msgspec.ValidationError(f"it is of schema {schema}, not {SCHEMA} or 1")
    if schema == 1:
        try:
            document = upgraded(document)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise msgspec.ValidationError(f"it is no row of schema 1: {error!r}") from None
    return msgspec.convert(document, Row)


_DISTANCES = {
    "linf": "linf", "l2": "l2", "flow": "flow_loss", "shift": "shift",
    "rotation_translation": "spatial",
}  # fmt: skip
_SHARES = ("clean", "benign", "attacked", "oblivious", "baseline")


def upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """Return a row of schema 1 as one of schema 2.

    Schema 1 says for ``attacked_accuracy`` alone on how many images it stands; the other figures
    have no interval then.
    """
    row = {**old, "schema": SCHEMA}
    interval, n = row.pop("attacked_accuracy_ci95", None), old.get("n", 0)
    attacked = old.get("attacked_accuracy")
    if interval is None and attacked is not None and n:
        interval = wilson_interval(attacked * n, n)
    for name in [f"{share}_accuracy" for share in _SHARES] + ["success_rate"]:
        value = old.get(name)
        if value is not None:
            low, high = interval if name == "attacked_accuracy" and interval else (None, None)
            row[name] = _figure(value, low, high, n if name == "attacked_accuracy" else 0)
    known = [v for part in old.get("parameters", {}).values() for v in part.values()]
    if old.get("threat") is not None:
        row["threat"] = _threat(old["threat"], known)
    certified = old.get("certified")
    if certified is not None:
        low, high = certified["ci95"]
        figure = _figure(certified["accuracy"], low, high, certified["n"])
        row["certified"] = {"threat": _threat(certified["threat"], known), "accuracy": figure}
    sanitized = dict(old.get("sanitized") or {})
    if "caught_unaware" in sanitized:
        sanitized["caught_oblivious"] = sanitized.pop("caught_unaware")
        row["sanitized"] = sanitized
    parameters = dict(old.get("parameters", {}))
    row["found"] = parameters.pop("found", {})
    row["parameters"] = parameters
    return row


def _figure(value: float, low: float | None, high: float | None, n: int) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n_images": n}


def _threat(text: str, known: Sequence[Any]) -> dict[str, Any]:
    """Read what schema 1 printed, to six digits: ``linf(0.1)``, ``rotation_translation(30,3)``.

    All digits of a limit are those of the parameter among the ``known`` that prints the same.
    """
    kind, _, rest = text.partition("(")
    all_digits = {f"{value:g}": float(value) for value in known if isinstance(value, (int, float))}
    limits = [all_digits.get(limit, float(limit)) for limit in rest.rstrip(")").split(",")]
    found = {"kind": kind, "budget": limits[0], "distance": _DISTANCES.get(kind)}
    return found if len(limits) == 1 else found | {"budget": 1.0, "limits": limits}
