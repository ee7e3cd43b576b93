"""The stages of a cell, each kept under the hash of its own inputs, so that cells share them.

poison      the poisoned rows of a training set          dataset, model, attack, seed
fit         sanitize, then train                         dataset, model, defense, poison, seed
perturb     attack the test images, through a wrapper    fit, wrapper, attack, samples, seed
measure     the row of a cell                            everything
"""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import metrics, seeds
from fastadv.attacks.poisoning.backdoor import success_rate
from fastadv.attacks.poisoning.base import amount
from fastadv.attacks.poisoning.label_flip import LabelFlip
from fastadv.datasets import Dataset
from fastadv.errors import InputError
from fastadv.grid import cleaning, registry
from fastadv.grid.none import NoAttack, NoDefense
from fastadv.grid.spec import Cell, Choice, Grid, digest
from fastadv.grid.store import Flag, Row, Store
from fastadv.protocols import (
    EvasionAttack,
    Floats,
    Labels,
    Mask,
    Model,
    PoisoningAttack,
    RegionSanitizer,
    RobustTraining,
    Wrapper,
)

N_EXAMPLES = 16  # kept of each cell, to look at

_NO_ROWS = np.empty(0, dtype=np.intp)
_WITHIN = 1.0 + 1e-5  # float32 rounding of a distance that sits on its budget


def kind_of(attack: Any) -> str:
    """Return ``evasion``, ``poisoning`` or ``none``."""
    if isinstance(attack, PoisoningAttack):
        return "poisoning"
    return "evasion" if isinstance(attack, EvasionAttack) else "none"


@dataclass(frozen=True)
class Context:
    """What every stage of one grid works with."""

    grid: Grid
    dataset: Dataset
    store: Store

    def new_model(self, seed: int) -> Any:
        """Return an untrained model; what it would take from its data it has from the clean set."""
        model = self.grid.make_model(seed)
        return model.resolve(self.dataset.x_train) if hasattr(model, "resolve") else model

    @functools.cached_property
    def test_rows(self) -> npt.NDArray[np.intp]:
        """The test images for evasion attacks: any number is a prefix of any larger one."""
        order = seeds.generator(0, "test samples").permutation(len(self.dataset.x_test))
        return order[: self.grid.samples]


@dataclass(frozen=True)
class Poison:
    """Choose the poisoned rows, inside what the sanitizer ``aware_of`` accepts if there is one.

    The training set itself is not stored again.
    """

    attack: Choice
    seed: int
    aware_of: Choice | None = None
    weight: float = field(default=12.0, compare=False)

    def key(self, context: Context) -> str:
        """Return the hash of the inputs."""
        model = context.grid.make_model(self.seed)
        aware = [self.aware_of.canonical] if self.aware_of else []
        return digest(
            "poison", context.dataset.fingerprint, registry.canonical(model),
            self.attack.canonical, self.seed, *aware,
        )  # fmt: skip

    def label(self) -> str:
        """Return what a user reads while it runs."""
        inside = f" inside {self.aware_of.text}" if self.aware_of else ""
        return f"{self.attack.text}: choosing the poison{inside}"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        return []

    def run(self, context: Context) -> None:
        """Poison and keep the rows."""
        data, start = context.dataset, time.perf_counter()
        known = cleaning.region_of(self.aware_of.thing, data) if self.aware_of else None
        result = self.attack.thing.poison(
            context.new_model(self.seed), data.x_train, data.y_train, data.x_val, data.y_val,
            task=data.task, seed=self.seed, project=known.project if known else None,
        )  # fmt: skip
        seconds, key = time.perf_counter() - start, self.key(context)
        details = {k: v for k, v in result.details.items() if k != "seconds"}  # kept by the stage
        trigger = {} if result.trigger is None else {"trigger": result.trigger}
        origin = {} if result.origin is None else {"origin": result.origin}
        context.store.save_stage(
            key,
            trigger
            | origin
            | {
                "rows": result.X[result.index], "labels": result.y[result.index],
                "index": result.index, "history": result.history,
                "details": np.array(json.dumps(details)),
            },
        )  # fmt: skip
        context.store.finish_stage(key, {"seconds": seconds, "points": len(result.index)})

    def training_set(self, context: Context) -> tuple[Floats, Labels]:
        """Return the poisoned training set."""
        data, kept = context.dataset, _kept(context, self)
        index, n_clean = kept["index"], len(data.x_train)
        if len(index) and index.min() >= n_clean:
            X = np.concatenate([data.x_train, kept["rows"]])
            y = np.concatenate([data.y_train, kept["labels"]])
        else:
            X, y = data.x_train.copy(), data.y_train.copy()
            X[index], y[index] = kept["rows"], kept["labels"]
        return X, y

    def truth(self, context: Context) -> tuple[npt.NDArray[np.intp], Labels | None]:
        """Return which rows are poison, and the labels of the images that they started as."""
        kept = _kept(context, self)
        origin = kept.get("origin")
        return kept["index"], None if origin is None else context.dataset.y_train[origin]


@dataclass(frozen=True)
class Fit:
    """Sanitize and train."""

    defense: Choice
    poison: Poison | None
    seed: int
    weight: float = field(default=4.0, compare=False)

    def key(self, context: Context) -> str:
        """Return the hash of the inputs; a defense that only wraps trains like none."""
        model = context.grid.make_model(self.seed)
        poison = self.poison.key(context) if self.poison else "clean"
        return digest(
            "fit", context.dataset.fingerprint, registry.canonical(model),
            training_part(self.defense.thing), poison, self.seed,
        )  # fmt: skip

    def label(self) -> str:
        """Return what a user reads while it runs."""
        data = f" on {self.poison.attack.text}'s set" if self.poison else ""
        return f"{self.defense.text}: training{data}"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        return [self.poison] if self.poison else []

    def run(self, context: Context) -> None:
        """Train and keep the weights."""
        data, start = context.dataset, time.perf_counter()
        X, y = self.poison.training_set(context) if self.poison else (data.x_train, data.y_train)
        defense, model = self.defense.thing, context.new_model(self.seed)
        info: dict[str, Any] = {}
        if cleaning.cleans(defense):
            keep, labels = cleaning.sanitize(defense, model, X, y, data, self.seed)
            poison, truth = self.poison.truth(context) if self.poison else (_NO_ROWS, None)
            info["sanitized"] = cleaning.shares(keep, labels, y, poison, truth)
            X, y = X[keep], labels[keep]
        if isinstance(defense, RobustTraining):
            model = defense.fit(model, X, y, task=data.task, seed=self.seed)
        else:
            model = model.fit(X, y)
        key = self.key(context)
        model.save(context.store.stage_path(key))
        context.store.finish_stage(key, {"seconds": time.perf_counter() - start, **info})

    def model(self, context: Context) -> Model:
        """Return the trained model, not wrapped."""
        name = registry.canonical(context.grid.make_model(self.seed)).partition("[")[0]
        # A defense that trains something else than the grid's model says what.
        kind = getattr(self.defense.thing, "trains", None) or registry.find("model", name).load()
        loaded: Model = kind.load(context.store.stage_path(self.key(context)))
        return loaded


@dataclass(frozen=True)
class Perturb:
    """Attack the test images, through the defense's wrapper if ``aware``."""

    attack: Choice
    fit: Fit
    aware: bool
    weight: float = field(default=3.0, compare=False)

    def key(self, context: Context) -> str:
        """Return the hash of the inputs."""
        return digest(
            "perturb", self.fit.key(context), self._wrapper(), self.attack.canonical,
            context.grid.samples, self.fit.seed,
        )  # fmt: skip

    def _wrapper(self) -> str:
        wraps = self.aware and isinstance(self.fit.defense.thing, Wrapper)
        return self.fit.defense.canonical if wraps else "none"

    def label(self) -> str:
        """Return what a user reads while it runs."""
        how = "" if self.aware else ", unaware of the defense"
        return f"{self.attack.text}: attacking {self.fit.defense.text}{how}"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        return [self.fit]

    def run(self, context: Context) -> None:
        """Attack and keep the images."""
        data, rows = context.dataset, context.test_rows
        model = self.fit.model(context)
        if self.aware:
            model = wrapped(self.fit.defense.thing, model, context)
        start = time.perf_counter()
        result = self.attack.thing.perturb(
            model, data.x_test[rows], data.y_test[rows], task=data.task, seed=self.fit.seed
        )
        seconds, key = time.perf_counter() - start, self.key(context)
        arrays = {f"distance_{name}": values for name, values in result.distances.items()}
        context.store.save_stage(
            key,
            arrays
            | {
                "x_adv": result.x_adv,
                "success": result.success,
                "misclassified": result.misclassified,
            },
        )
        context.store.finish_stage(key, {"seconds": seconds, "queries": result.queries})


def _kept(context: Context, stage: Stage) -> dict[str, npt.NDArray[Any]]:
    kept = context.store.load_stage(stage.key(context))
    if kept is None:
        raise InputError(f"{context.store.stage_path(stage.key(context))} has gone; run again")
    return kept


def training_part(defense: Any) -> str:
    """Return what of a defense bears on training, in canonical text."""
    acts = cleaning.cleans(defense) or isinstance(defense, RobustTraining)
    return registry.canonical(defense if acts else NoDefense())


def wrapped(defense: Any, model: Model, context: Context) -> Model:
    """Return the model as its users would meet it."""
    if isinstance(defense, Wrapper):
        return defense.wrap(model, task=context.dataset.task)
    return model


@dataclass(frozen=True)
class Measure:
    """The row of a cell, from what its stages have kept."""

    cell: Cell
    weight: float = field(default=0.3, compare=False)

    def key(self, context: Context) -> str:
        """Return the cell's id."""
        cell, model = self.cell, context.grid.make_model(self.cell.seed)
        return digest(
            "cell", context.dataset.fingerprint, registry.canonical(model), cell.attack.canonical,
            cell.defense.canonical, cell.seed, context.grid.samples,
        )  # fmt: skip

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.cell.attack.text} against {self.cell.defense.text}: measuring"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        cell, kind = self.cell, kind_of(self.cell.attack.thing)
        needed: list[Stage] = [self.clean_fit()]
        if kind == "evasion":
            needed.append(Perturb(cell.attack, self.clean_fit(), aware=True))
            if isinstance(cell.defense.thing, Wrapper):
                needed.append(Perturb(cell.attack, self.clean_fit(), aware=False))
        elif kind == "poisoning":
            needed.append(self.poisoned_fit())
            needed += [self.poisoned_fit(aware=False)] if self.knows_region() else []
            baseline = self.baseline_fit(context)
            needed += [baseline] if baseline is not None else []
        return needed

    def clean_fit(self) -> Fit:
        """Return the training without poison."""
        return Fit(self.cell.defense, None, self.cell.seed)

    def knows_region(self) -> bool:
        """Return whether the sanitizer has a region that an attacker can stay in."""
        replaces = getattr(self.cell.attack.thing, "replace", False)  # moves no image
        return isinstance(self.cell.defense.thing, RegionSanitizer) and not replaces

    def poisoned_fit(self, aware: bool = True) -> Fit:
        """Return the training on the attack's set; the attacker knows the sanitizer if aware."""
        known = self.cell.defense if aware and self.knows_region() else None
        poison = Poison(self.cell.attack, self.cell.seed, known)
        return Fit(self.cell.defense, poison, self.cell.seed)

    def baseline_fit(self, context: Context) -> Fit | None:
        """Return the training on as many random flips; None for random flips themselves."""
        attack = self.cell.attack.thing
        if isinstance(attack, LabelFlip) and attack.strategy == "random":
            return None
        points = amount(attack.fraction, attack.points, len(context.dataset.x_train))
        choice = Choice("random flips", LabelFlip(points=points))
        return Fit(self.cell.defense, Poison(choice, self.cell.seed, weight=0.5), self.cell.seed)

    def run(self, context: Context) -> None:
        """Measure, and keep the samples and the row."""
        row = empty_row(self.cell, context)
        data = context.dataset
        model = wrapped(self.cell.defense.thing, self.clean_fit().model(context), context)
        clean = model.predict(data.x_test)
        row.clean_accuracy = _mean(clean == data.y_test)
        fit_info = context.store.stage_info(self.clean_fit().key(context)) or {}
        row.seconds = {"fit": fit_info.get("seconds", 0.0), "compile": 0.0}
        if row.kind == "evasion":
            samples = self._measure_evasion(context, row, clean[context.test_rows], model)
        else:
            samples = self._measure_training(context, row, clean)
        context.store.save_cell(row, samples)

    def _measure_training(
        self, context: Context, row: Row, clean: Labels
    ) -> dict[str, npt.NDArray[Any]]:
        """Fill the row of a poisoning attack, or of none, over all test images."""
        data, attacked = context.dataset, clean
        clean_info = context.store.stage_info(self.clean_fit().key(context)) or {}
        row.sanitized = clean_info.get("sanitized")
        samples: dict[str, npt.NDArray[Any]] = {}
        if row.kind == "poisoning":
            fit = self.poisoned_fit()
            assert fit.poison is not None
            attacked = self._predict(fit, context)
            kept = _kept(context, fit.poison)
            points = len(kept["index"])
            row.poison = {"fraction": points / len(data.x_train), "points": float(points)}
            poison_info = context.store.stage_info(fit.poison.key(context)) or {}
            fit_info = context.store.stage_info(fit.key(context)) or {}
            row.seconds |= {
                "poison": poison_info.get("seconds", 0.0), "fit": fit_info.get("seconds", 0.0)
            }  # fmt: skip
            row.sanitized = fit_info.get("sanitized")
            row.parameters["found"] = json.loads(str(kept["details"]))
            samples = {
                "poison": kept["rows"][:N_EXAMPLES], "poison_labels": kept["labels"][:N_EXAMPLES],
                "history": kept["history"],
            }  # fmt: skip
            if "trigger" in kept:
                model = wrapped(self.cell.defense.thing, fit.model(context), context)
                row.success_rate = success_rate(
                    model, data.x_test, data.y_test, kept["trigger"],
                    row.parameters["found"]["target"],
                )  # fmt: skip
            if self.knows_region():
                unaware = self.poisoned_fit(aware=False)
                row.oblivious_accuracy = _mean(self._predict(unaware, context) == data.y_test)
                unaware_info = context.store.stage_info(unaware.key(context)) or {}
                assert row.sanitized is not None
                row.sanitized["caught_unaware"] = unaware_info["sanitized"]["caught"]
            baseline = self.baseline_fit(context)
            if baseline is not None:
                row.baseline_accuracy = _mean(self._predict(baseline, context) == data.y_test)
        _fill_accuracy(row, attacked == data.y_test)
        ids = seeds.sample_ids(data.x_test)
        return samples | {
            "sample_ids": ids, "y": data.y_test, "clean": clean, "attacked": attacked,
            "robust": attacked == data.y_test,
        }  # fmt: skip

    def _predict(self, fit: Fit, context: Context) -> Labels:
        model = wrapped(self.cell.defense.thing, fit.model(context), context)
        return model.predict(context.dataset.x_test)

    def _measure_evasion(
        self, context: Context, row: Row, clean: Labels, model: Model
    ) -> dict[str, npt.NDArray[Any]]:
        """Fill the row of an evasion attack, over the test images that it got."""
        data, rows, attack = context.dataset, context.test_rows, self.cell.attack.thing
        x, y = data.x_test[rows], data.y_test[rows]
        stage = Perturb(self.cell.attack, self.clean_fit(), aware=True)
        kept, info = _kept(context, stage), context.store.stage_info(stage.key(context)) or {}
        distances = {
            k.removeprefix("distance_"): v for k, v in kept.items() if k.startswith("distance_")
        }
        success, threat = kept["success"], attack.threat()
        within = np.ones(len(y), dtype=bool)
        if threat.distance is not None:
            within = distances[threat.distance] <= threat.budget * _WITHIN
        robust = ~kept["misclassified"] & ~(success & within)
        _fill_accuracy(row, robust)
        right = ~kept["misclassified"]
        row.success_rate = float(success.sum() / right.sum()) if right.any() else None
        row.distances = {
            k: float(np.median(v[success])) for k, v in distances.items() if success.any()
        }
        row.queries, row.seconds["perturb"] = info.get("queries", {}), info.get("seconds", 0.0)
        row.flags = _evasion_flags(self.cell, model, success & ~within, kept["x_adv"], context)
        if isinstance(self.cell.defense.thing, Wrapper):
            unaware = Perturb(self.cell.attack, self.clean_fit(), aware=False)
            row.oblivious_accuracy = self._oblivious(context, unaware, model, x, y)
        return {
            "sample_ids": seeds.sample_ids(x), "y": y, "clean": clean,
            "attacked": model.predict(kept["x_adv"]), "robust": robust, "success": success,
            **distances, "examples": x[:N_EXAMPLES], "examples_adv": kept["x_adv"][:N_EXAMPLES],
        }  # fmt: skip

    def _oblivious(
        self, context: Context, stage: Perturb, model: Model, x: Floats, y: Labels
    ) -> float:
        """Return the defended accuracy on what was crafted against the bare model, in budget."""
        kept, threat = _kept(context, stage), self.cell.attack.thing.threat()
        x_adv = kept["x_adv"]
        if threat.distance is not None:
            beyond = kept[f"distance_{threat.distance}"] > threat.budget * _WITHIN
            x_adv = np.where(beyond[:, None], x, x_adv)
        return _mean(model.predict(x_adv) == y)


def _evasion_flags(
    cell: Cell, model: Model, beyond: Mask, x_adv: Floats, context: Context
) -> list[Flag]:
    flags = []
    if getattr(model, "gradient", "exact") == "identity" and "gradient" in cell.attack.thing.needs:
        flags.append(
            Flag(
                "identity_gradient",
                f"{cell.defense.text} has no useful gradient: attacked through the identity in its "
                "place; a black-box attack may find more",
            )
        )
    low, high = context.dataset.task.bounds
    outside = bool(len(x_adv)) and (x_adv.min() < low or x_adv.max() > high)
    if outside or (beyond.any() and not getattr(cell.attack.thing, "minimum_norm", False)):
        flags.append(
            Flag(
                "outside_budget",
                f"{cell.attack.text} returned images outside its budget or the pixel range; they "
                "do not count, and the attack has a fault to be reported",
            )
        )
    return flags


Stage = Poison | Fit | Perturb | Measure


def empty_row(cell: Cell, context: Context) -> Row:
    """Return the row of a cell with what is known before it runs."""
    attack, model = cell.attack.thing, context.grid.make_model(cell.seed)
    return Row(
        id=Measure(cell).key(context),
        dataset=context.dataset.name,
        model=context.grid.model,
        attack=cell.attack.text,
        defense=cell.defense.text,
        seed=cell.seed,
        kind=kind_of(attack),
        threat=None if isinstance(attack, NoAttack) else str(attack.threat()),
        parameters={
            "attack": registry.parameters(attack),
            "defense": registry.parameters(cell.defense.thing),
            "model": registry.parameters(model),
        },
    )


def _fill_accuracy(row: Row, right: Mask) -> None:
    row.n = len(right)
    row.attacked_accuracy = _mean(right)
    row.attacked_accuracy_ci95 = metrics.wilson_interval(int(right.sum()), len(right))


def _mean(right: Mask) -> float:
    return float(np.mean(right))
