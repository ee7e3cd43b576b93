"""The row of a cell, from what its stages have made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from fastadv import capabilities, registry, seeds
from fastadv.arrays import Arrays, Labels, Mask
from fastadv.attacks.evasion.probe import Probe
from fastadv.attacks.none import NoAttack
from fastadv.grid import given
from fastadv.grid.blocks import blocks
from fastadv.grid.cell import Cell, Choice, digest
from fastadv.grid.context import Context
from fastadv.grid.found import Judged, found_by, judged
from fastadv.grid.row import Certified, Figure, Flag, Row
from fastadv.grid.stages.base import Inputs, Made, Stage
from fastadv.grid.stages.evaluation import N_EXAMPLES, Certify, Inspect, Perturb
from fastadv.grid.stages.training import Fit, Poison, Take, bears_on_training, fit_of, wraps
from fastadv.grid.trust import cells as trust
from fastadv.protocols import Certifier, Model
from fastadv.task import Task
from fastadv.threat import Threat


def cell_id(cell: Cell, context: Context) -> str:
    """Return the hash that names a cell's files."""
    images = context.grid.samples, *cell.dealt
    return digest(
        "cell", context.dataset.fingerprint, context.models[cell.seed], cell.attack.canonical,
        cell.defense.canonical, cell.seed, *(images if _attacks_images(cell) else ()),
    )  # fmt: skip


def _attacks_images(cell: Cell) -> bool:
    """Return whether the row hangs on the images that evasion attacks get."""
    evades = capabilities.kind_of(cell.attack.made) == "evasion"
    return evades or isinstance(cell.defense.made, Certifier)


def empty_row(cell: Cell, context: Context) -> Row:
    """Return the row of a cell with what is known before it runs."""
    attack = cell.attack.made
    return Row(
        id=cell_id(cell, context),
        dataset=context.dataset.name,
        model=context.grid.model,
        attack=cell.attack.text,
        defense=cell.defense.text,
        seed=cell.seed,
        dealt=cell.dealt,
        kind=capabilities.kind_of(attack),
        threat=None if isinstance(attack, NoAttack) else _threat(attack, context),
        parameters={
            "attack": registry.parameters(attack),
            "defense": registry.parameters(cell.defense.made),
            "model": _model_parameters(cell, context),
        },
    )


def _threat(of: Any, context: Context) -> Threat:
    """Return what an attack may do, or a defense certifies, in the units of the data."""
    return capabilities.threat_on(of, context.dataset.task)


def _model_parameters(cell: Cell, context: Context) -> dict[str, Any]:
    if context.given is None:
        return registry.parameters(context.make_model(cell.seed))
    given = context.given.given
    return {"given": given.how, "identity": given.identity}


@dataclass(frozen=True)
class Measure:
    """Make the row of a cell, and the samples behind it."""

    cell: Cell
    weight: float = field(default=0.1, compare=False)

    unread: ClassVar[tuple[str, ...]] = ("x_adv",)  # of all images: what the row says is known

    def label(self) -> str:
        """Return what a user reads while it runs."""
        attack, defense = self.cell.attack.text, self.cell.defense.text
        return f"{attack} against {defense}: measuring, seed {self.cell.seed}"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the stages whose results make the row."""
        kind = capabilities.kind_of(self.cell.attack.made)
        needed: dict[str, Stage] = {"fit": self._fit(context)}
        if kind == "evasion":
            needed["inspect"] = Inspect(self._fit(context), self.cell.dealt)
            needed |= self._perturbs(context)
        elif kind == "poisoning":
            adaptive, oblivious = self._poison(adaptive=True), self._poison(adaptive=False)
            needed |= {"poison": adaptive, "poisoned": self._fit(context, adaptive)}
            if self._adapts():
                needed |= {
                    "oblivious_poison": oblivious,
                    "oblivious": self._fit(context, oblivious),
                }
            baseline = self._baseline(context)
            if baseline is not None:
                needed["baseline"] = baseline
        if self._certified_threat(context) is not None:
            needed["certify"] = Certify(self._fit(context), self.cell.dealt)
        return needed

    def _perturbs(self, context: Context, adaptive: bool = True) -> dict[str, Stage]:
        """Return the attack on each block of the images, by the names that it is needed under."""
        fit, n = self._fit(context), len(self._rows(context))
        return {
            f"perturb {k}": Perturb(self.cell.attack, fit, self.cell.dealt, adaptive, block=k)
            for k in range(len(blocks(n)))
        }

    def alone(self, context: Context) -> list[Stage]:
        """Return the stages that no other cell can need: once the row is there, none reads them.

        Defenses that do not change training share their poisoned models, and what is crafted
        against the bare model, with all others of that kind. Models without poison, poison that
        knows no defense, and the baselines serve other attacks and defenses.
        """
        kind, defense = capabilities.kind_of(self.cell.attack.made), self.cell.defense.made
        trains = bears_on_training(defense)
        if kind == "evasion":
            known = [True] * (trains or wraps(defense)) + [False] * (trains and wraps(defense))
            return [stage for way in known for stage in self._perturbs(context, way).values()]
        names = ["poisoned"] * (kind == "poisoning" and trains)
        if kind == "poisoning" and self._adapts():
            names = ["poison", "poisoned"] + ["oblivious"] * trains
        needed = self.needs(context) if names else {}
        return [needed[name] for name in names]

    def _rows(self, context: Context) -> npt.NDArray[np.intp]:
        """Return the test images that evasion attacks get."""
        return context.test_rows(self.cell.dealt)

    def _fit(self, context: Context, poison: Poison | None = None) -> Fit:
        """Return the training, without poison or on it."""
        if poison is not None:
            return Fit(self.cell.defense, poison, self.cell.seed)
        poisons = capabilities.kind_of(self.cell.attack.made) == "poisoning"
        return fit_of(context, self.cell.defense, self.cell.seed, refit=poisons)

    def _adapts(self) -> bool:
        """Return whether the attack chooses other poison where it knows the defense."""
        return capabilities.adapts(self.cell.attack.made, self.cell.defense.made)

    def _poison(self, adaptive: bool) -> Poison:
        """Return the attack's rows; an adaptive attacker knows the defense."""
        known = self.cell.defense if adaptive and self._adapts() else None
        return Poison(self.cell.attack, self.cell.seed, known)

    def _baseline(self, context: Context) -> Fit | None:
        """Return the training on the attack's baseline in place of its poison, if it has one."""
        baseline = self.cell.attack.made.baseline(len(context.dataset.x_train))
        if baseline is None:
            return None
        flips = Poison(Choice("random flips", baseline), self.cell.seed, weight=0.1)
        return self._fit(context, flips)

    def _certified_threat(self, context: Context) -> Threat | None:
        """Return what the row's certified accuracy is for: the attack's threat model, or its own.

        None if the defense certifies nothing, or nothing about this kind of attack. What is
        certified against added points says nothing of rows that are changed in place.
        """
        attack, defense = self.cell.attack.made, self.cell.defense.made
        if not isinstance(defense, Certifier) or capabilities.replaces(attack):
            return None
        own = _threat(defense, context)
        if isinstance(attack, NoAttack):
            return own
        threat = _threat(attack, context)
        if threat.kind == "poison" and own.kind == "points":  # a share, of a number that is known
            threat = Threat(own.kind, attack.n_points(len(context.dataset.x_train)))
        return threat if threat.kind == own.kind else None

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Measure: the row stands among the facts, the samples are the arrays."""
        row, data = empty_row(self.cell, context), context.dataset
        fit = inputs["fit"]
        model = self._fit(context).defended(fit, context)
        clean = model.predict(data.x_test)
        row.clean_accuracy = Figure.of(clean == data.y_test)
        row.seconds = {"fit": fit.facts["seconds"], "compile": 0.0}
        trained = inputs.get("poisoned", fit)
        row.weights = trained.facts["weights"]
        if row.kind == "evasion":
            samples = self._evasion(inputs, context, row, model, clean[self._rows(context)])
        elif row.kind == "poisoning":
            samples = self._poisoning(inputs, context, row, clean)
        else:
            row.sanitized = fit.facts.get("sanitized")
            samples = _over_all(context, row, clean, Judged(clean, clean == data.y_test, None))
        samples |= self._certified(inputs, context, row)
        row.flags += self._flags(context, row, clean, samples)
        row.notes += trust.not_settled(self.cell.defense, trained.facts["unsettled"])
        if context.given is not None:
            refit = not isinstance(self._fit(context), Take)
            row.notes += given.notes(context.given.given, refit, self.cell.defense.made)
        samples["class_names"] = np.array(data.class_names)
        return Made(samples, {"row": msgspec.to_builtins(row)})

    def _flags(self, context: Context, row: Row, clean: Labels, samples: Arrays) -> list[Flag]:
        """Return the flags that any kind of cell may have."""
        data, defense = context.dataset, self.cell.defense
        flags = [
            trust.few_images(defense, len(data.x_train), data.task),
            trust.no_better_than_chance(defense, clean == data.y_test, data.y_test),
        ]
        if row.kind != "none" and row.certified:
            robust = samples["robust"]  # certified are the images of evasion attacks
            robust = robust[self._rows(context)] if row.kind == "poisoning" else robust
            count = int((samples["certified"] & ~robust).sum())
            flags.append(trust.broken_certificate(self.cell.attack, defense, count))
        return [flag for flag in flags if flag is not None]

    # -- poisoning --------------------------------------------------------------------------

    def _poisoning(self, inputs: Inputs, context: Context, row: Row, clean: Labels) -> Arrays:
        """Fill the row of a poisoning attack, over all test images; return its samples."""
        data, poison, poisoned = context.dataset, inputs["poison"], inputs["poisoned"]
        evaluation = self._evaluate(poisoned, poison, context)
        points = len(poison.arrays["index"])
        row.poison = {"fraction": points / len(data.x_train), "points": float(points)}
        row.seconds |= {"poison": poison.facts["seconds"], "fit": poisoned.facts["seconds"]}
        row.found, row.draw = poison.facts["details"], poison.facts.get("draw")
        row.sanitized = poisoned.facts.get("sanitized")
        samples = {
            "poison": poison.arrays["rows"][:N_EXAMPLES],
            "poison_labels": poison.arrays["labels"][:N_EXAMPLES],
            "image_shape": np.array(data.task.image_shape),
            "history": poison.arrays["history"], **_kept_columns(data.task),
        }  # fmt: skip
        if data.task.columns is not None and "origin" in poison.arrays:
            origins = data.x_train[poison.arrays["origin"]]
            samples["poison_origins"] = origins[:N_EXAMPLES]
            count = data.task.n_impossible(origins, poison.arrays["rows"])
            row.flags += trust.impossible_rows(self.cell.attack, count)
        if evaluation.triggered is not None:
            row.benign_accuracy = Figure.of(evaluation.predicted == data.y_test)
            others = data.y_test != row.found["target"]
            row.success_rate = Figure.of((evaluation.triggered == row.found["target"])[others])
            samples["triggered"] = evaluation.triggered
        if "oblivious" in inputs:
            oblivious, unknowing = inputs["oblivious"], inputs["oblivious_poison"]
            survives = self._evaluate(oblivious, unknowing, context).survives
            row.oblivious_accuracy = Figure.of(survives)
            if row.sanitized is not None:
                row.sanitized["caught_oblivious"] = oblivious.facts["sanitized"]["caught"]
        else:
            row.notes += trust.not_adaptive(self.cell.attack, self.cell.defense)
        if "baseline" in inputs:
            baseline = self._evaluate(inputs["baseline"], poison, context)
            row.baseline_accuracy = Figure.of(baseline.survives)
            samples["baseline"] = baseline.survives
        return samples | _over_all(context, row, clean, evaluation)

    def _evaluate(self, fit: Made, poison: Made, context: Context) -> Judged:
        """Return what the attack is to a model that was trained on its poison, or on another."""
        data, model = context.dataset, self._fit(context).defended(fit, context)
        return judged(
            [
                self.cell.attack.made.evaluate(
                    model, data.x_test[part], data.y_test[part],
                    trigger=poison.arrays.get("trigger"),
                    target=poison.facts["details"].get("target"),
                )
                for part in blocks(len(data.x_test))
            ]
        )  # fmt: skip

    # -- evasion ----------------------------------------------------------------------------

    def _evasion(
        self, inputs: Inputs, context: Context, row: Row, model: Model, clean: Labels
    ) -> Arrays:
        """Fill the row of an evasion attack, over the test images that it got."""
        data, rows = context.dataset, self._rows(context)
        found = found_by([inputs[name] for name in self._perturbs(context)])
        result, is_adv, success = found.result, found.result.is_adv, found.result.success
        robust = result.robust
        _quote(row, robust)
        row.success_rate = Figure.of(is_adv[~result.misclassified])
        row.distances, row.found = result.median_distances(), found.ways
        row.queries, row.seconds["perturb"] = result.queries, found.seconds
        row.flags = trust.cell_flags(
            trust.Attacked(
                self.cell.attack, self.cell.defense, model, data.task, is_adv & ~success,
                found.outside, msgspec.convert(inputs["inspect"].facts["probe"], Probe), row.found,
            )
        )  # fmt: skip
        row.flags += trust.impossible_rows(self.cell.attack, found.n_impossible)
        row.notes += trust.held_columns(self.cell.attack, data.task)
        if found.survives_oblivious is not None:
            row.oblivious_accuracy = Figure.of(found.survives_oblivious)
        ids = [seeds.sample_ids(data.x_test[rows[part]]) for part in blocks(len(rows))]
        return {
            "sample_ids": np.concatenate(ids), "y": data.y_test[rows], "clean": clean,
            "attacked": found.attacked, "robust": robust, "is_adv": is_adv,
            "success": success, **result.distances, "examples": data.x_test[rows[:N_EXAMPLES]],
            "examples_adv": result.x_adv, "image_shape": np.array(data.task.image_shape),
            **_kept_columns(data.task),
        }  # fmt: skip

    def _certified(self, inputs: Inputs, context: Context, row: Row) -> Arrays:
        """Fill in what is certified at the row's budget, over the images of evasion attacks."""
        threat = self._certified_threat(context)
        if threat is None:
            return {}
        certificate, y = inputs["certify"], context.dataset.y_test[self._rows(context)]
        label, radius = certificate.arrays["label"], certificate.arrays["radius"]
        # What counts as within the budget for an attack has to be covered by the certificate.
        certified: Mask = (label == y) & (radius >= threat.reach)
        accuracy = Figure.of(certified)
        row.certified = None if accuracy is None else Certified(threat, accuracy)
        row.seconds["certify"] = certificate.facts["seconds"]
        return {"certified": certified, "certified_radius": radius}


def _kept_columns(task: Task) -> Arrays:
    """Return what rows of a table are read by; nothing of images."""
    return {} if task.columns is None else task.columns.kept()


def _over_all(context: Context, row: Row, clean: Labels, evaluation: Judged) -> Arrays:
    """Fill in the accuracy over all test images, and return their samples."""
    _quote(row, evaluation.survives)
    data = context.dataset
    return {
        "sample_ids": seeds.sample_ids(data.x_test), "y": data.y_test, "clean": clean,
        "attacked": evaluation.predicted, "robust": evaluation.survives,
    }  # fmt: skip


def _quote(row: Row, robust: Mask) -> None:
    row.n, row.attacked_accuracy = len(robust), Figure.of(robust)
