"""The row of a cell, from what its stages have kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import metrics, registry, seeds
from fastadv.arrays import Floats, Labels, Mask
from fastadv.attacks.none import NoAttack
from fastadv.attacks.poisoning.base import amount
from fastadv.attacks.poisoning.label_flip import LabelFlip
from fastadv.grid import trust
from fastadv.grid.probe import Look
from fastadv.grid.spec import Cell, Choice, digest
from fastadv.grid.stages import (
    Certify,
    Context,
    Fit,
    Perturb,
    Poison,
    Stage,
    kept,
    kind_of,
    wrapped,
)
from fastadv.grid.store import Row
from fastadv.protocols import Certifier, Model, RegionSanitizer, Wrapper
from fastadv.results import PoisonEvaluation
from fastadv.threat import Threat

N_EXAMPLES = 16  # kept of each cell, to look at


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
            needed += [Perturb(cell.attack, self.clean_fit(), aware=True), self.look()]
            if isinstance(cell.defense.thing, Wrapper):
                needed.append(Perturb(cell.attack, self.clean_fit(), aware=False))
        elif kind == "poisoning":
            needed.append(self.poisoned_fit())
            needed += [self.poisoned_fit(aware=False)] if self.knows_region() else []
            baseline = self.baseline_fit(context)
            needed += [baseline] if baseline is not None else []
        return needed + ([self.certify()] if self.certified_threat(context) is not None else [])

    def clean_fit(self) -> Fit:
        """Return the training without poison."""
        return Fit(self.cell.defense, None, self.cell.seed)

    def replaces(self) -> bool:
        """Return whether the attack changes rows in place: it adds none."""
        return bool(getattr(self.cell.attack.thing, "replace", False))

    def knows_region(self) -> bool:
        """Return whether the sanitizer has a region that an attacker can stay in."""
        return isinstance(self.cell.defense.thing, RegionSanitizer) and not self.replaces()

    def poison(self, aware: bool = True) -> Poison:
        """Return the attack's rows; the attacker knows the sanitizer if aware."""
        known = self.cell.defense if aware and self.knows_region() else None
        return Poison(self.cell.attack, self.cell.seed, known)

    def poisoned_fit(self, aware: bool = True) -> Fit:
        """Return the training on the attack's set."""
        return Fit(self.cell.defense, self.poison(aware), self.cell.seed)

    def look(self) -> Look:
        """Return the look at the model that was trained without poison."""
        return Look(self.clean_fit())

    def certify(self) -> Certify:
        """Return the proofs for the model that was trained without poison."""
        return Certify(self.clean_fit())

    def certified_threat(self, context: Context) -> Threat | None:
        """Return what the row's certified accuracy is for: the attack's threat model, or its own.

        None if the defense proves nothing, or nothing about this kind of attack. What is proven
        against added points says nothing of rows that are changed in place.
        """
        attack, defense = self.cell.attack.thing, self.cell.defense.thing
        if not isinstance(defense, Certifier) or self.replaces():
            return None
        own: Threat = defense.threat()
        if isinstance(attack, NoAttack):
            return own
        threat: Threat = attack.threat()
        if threat.kind == "poison" and own.kind == "points":  # a share, of a number that is known
            n_clean = len(context.dataset.x_train)
            threat = Threat(own.kind, amount(attack.fraction, attack.points, n_clean))
        return threat if threat.kind == own.kind else None

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
        model = self._defended(self.clean_fit(), context)
        clean = model.predict(data.x_test)
        row.clean_accuracy = _mean(clean == data.y_test)
        fit_info = context.store.stage_info(self.clean_fit().key(context)) or {}
        row.seconds = {"fit": fit_info.get("seconds", 0.0), "compile": 0.0}
        trained = self.poisoned_fit() if row.kind == "poisoning" else self.clean_fit()
        row.weights = trained.weights(context)
        if row.kind == "evasion":
            samples = self._measure_evasion(context, row, clean[context.test_rows], model)
        else:
            samples = self._measure_training(context, row, clean)
        samples |= self._measure_certified(context, row)
        flags = [
            trust.few_images(self.cell.defense, len(data.x_train), data.task),
            trust.no_better_than_chance(self.cell.defense, clean == data.y_test, data.y_test),
        ]
        if row.kind != "none" and row.certified:
            everyone = row.kind == "poisoning"  # certified are the images of evasion attacks
            robust = samples["robust"][context.test_rows] if everyone else samples["robust"]
            count = int((samples["certified"] & ~robust).sum())
            flags.append(trust.broken_certificate(self.cell.attack, self.cell.defense, count))
        row.flags += [flag for flag in flags if flag is not None]
        trained = self.poisoned_fit() if row.kind == "poisoning" else self.clean_fit()
        info = context.store.stage_info(trained.key(context)) or {}
        row.notes += trust.not_settled(self.cell.defense, info.get("unsettled"))
        samples["class_names"] = np.array(data.class_names)
        context.store.save_cell(row, samples)

    def _measure_training(
        self, context: Context, row: Row, clean: Labels
    ) -> dict[str, npt.NDArray[Any]]:
        """Fill the row of a poisoning attack, or of none, over all test images."""
        data, found = context.dataset, PoisonEvaluation(clean, clean == context.dataset.y_test)
        fit = self.poisoned_fit() if row.kind == "poisoning" else self.clean_fit()
        fit_info = context.store.stage_info(fit.key(context)) or {}
        row.sanitized = fit_info.get("sanitized")
        samples: dict[str, npt.NDArray[Any]] = {}
        if fit.poison is not None:
            poison = kept(context, fit.poison)
            found = self._evaluated(fit, context)
            points = len(poison["index"])
            row.poison = {"fraction": points / len(data.x_train), "points": float(points)}
            poison_info = context.store.stage_info(fit.poison.key(context)) or {}
            row.seconds |= {
                "poison": poison_info.get("seconds", 0.0), "fit": fit_info.get("seconds", 0.0)
            }  # fmt: skip
            row.parameters["found"] = json.loads(str(poison["details"]))
            samples = {
                "poison": poison["rows"][:N_EXAMPLES],
                "poison_labels": poison["labels"][:N_EXAMPLES],
                "image_shape": np.array(data.task.image_shape),
                "history": poison["history"],
            }
            if found.triggered is not None:
                row.benign_accuracy = _mean(found.predicted == data.y_test)
                row.success_rate = found.success_rate
                samples["triggered"] = found.triggered
            if self.knows_region():
                self._measure_unaware(context, row)
            else:
                row.notes += trust.not_adaptive(self.cell.attack, self.cell.defense)
            baseline = self.baseline_fit(context)
            if baseline is not None:
                row.baseline_accuracy = _mean(self._evaluated(baseline, context).survives)
        _fill_accuracy(row, found.survives)
        ids = seeds.sample_ids(data.x_test)
        return samples | {
            "sample_ids": ids, "y": data.y_test, "clean": clean, "attacked": found.predicted,
            "robust": found.survives,
        }  # fmt: skip

    def _measure_unaware(self, context: Context, row: Row) -> None:
        """Fill in what the poison does, and how it fares, that is not kept inside the region."""
        fit = self.poisoned_fit(aware=False)
        row.oblivious_accuracy = _mean(self._evaluated(fit, context).survives)
        info = context.store.stage_info(fit.key(context)) or {}
        row.sanitized = {
            **(row.sanitized or {}), "caught_unaware": info["sanitized"]["caught"]
        }  # fmt: skip

    def _defended(self, fit: Fit, context: Context) -> Model:
        """Return the model of a training as its users would meet it."""
        return wrapped(self.cell.defense.thing, fit.model(context), context)

    def _evaluated(self, fit: Fit, context: Context) -> PoisonEvaluation:
        """Return what the attack is to a model that was trained on its poison, or on a baseline."""
        data, poison = context.dataset, kept(context, self.poison())
        found: PoisonEvaluation = self.cell.attack.thing.evaluate(
            self._defended(fit, context), data.x_test, data.y_test,
            trigger=poison.get("trigger"), target=json.loads(str(poison["details"])).get("target"),
        )  # fmt: skip
        return found

    def _measure_evasion(
        self, context: Context, row: Row, clean: Labels, model: Model
    ) -> dict[str, npt.NDArray[Any]]:
        """Fill the row of an evasion attack, over the test images that it got."""
        data, rows = context.dataset, context.test_rows
        x, y = data.x_test[rows], data.y_test[rows]
        stage = Perturb(self.cell.attack, self.clean_fit(), aware=True)
        found, info = kept(context, stage), context.store.stage_info(stage.key(context)) or {}
        distances = {
            k.removeprefix("distance_"): v for k, v in found.items() if k.startswith("distance_")
        }
        success, is_adv, right = found["success"], found["is_adv"], ~found["misclassified"]
        robust = right & ~success
        _fill_accuracy(row, robust)
        row.success_rate = float(is_adv.sum() / right.sum()) if right.any() else None
        row.distances = {
            k: float(np.median(v[is_adv])) for k, v in distances.items() if is_adv.any()
        }
        row.queries, row.seconds["perturb"] = info.get("queries", {}), info.get("seconds", 0.0)
        row.flags = trust.cell_flags(
            trust.Attacked(
                self.cell.attack, self.cell.defense, model, data.task, is_adv & ~success,
                found["x_adv"], self.look().found(context),
            )
        )  # fmt: skip
        if isinstance(self.cell.defense.thing, Wrapper):
            unaware = Perturb(self.cell.attack, self.clean_fit(), aware=False)
            row.oblivious_accuracy = self._oblivious(context, unaware, model, x, y)
        return {
            "sample_ids": seeds.sample_ids(x), "y": y, "clean": clean,
            "attacked": model.predict(found["x_adv"]), "robust": robust, "is_adv": is_adv,
            "success": success, **distances, "examples": x[:N_EXAMPLES],
            "examples_adv": found["x_adv"][:N_EXAMPLES],
            "image_shape": np.array(data.task.image_shape),
        }  # fmt: skip

    def _measure_certified(self, context: Context, row: Row) -> dict[str, npt.NDArray[Any]]:
        """Fill in what is proven at the budget of the row, over the images of evasion attacks."""
        threat = self.certified_threat(context)
        if threat is None:
            return {}
        stage, y = self.certify(), context.dataset.y_test[context.test_rows]
        proven = stage.certificate(context)
        # What counts as within the budget for an attack has to be covered by the proof.
        certified = (proven.label == y) & (proven.radius >= threat.reach)
        low, high = metrics.wilson_interval(int(certified.sum()), len(y))
        row.certified = {
            "threat": str(threat), "accuracy": _mean(certified), "ci95": [low, high], "n": len(y),
        }  # fmt: skip
        info = context.store.stage_info(stage.key(context)) or {}
        row.seconds["certify"] = info.get("seconds", 0.0)
        return {"certified": certified, "certified_radius": proven.radius}

    def _oblivious(
        self, context: Context, stage: Perturb, model: Model, x: Floats, y: Labels
    ) -> float:
        """Return the defended accuracy on what was crafted against the bare model, in budget."""
        found = kept(context, stage)
        x_adv = np.where(found["success"][:, None], found["x_adv"], x)
        return _mean(model.predict(x_adv) == y)


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
