"""The stages of a cell: each makes arrays and facts from those of the stages that it needs.

Scout       what poison is the same for every seed       dataset, model, attack
Poison      the poisoned rows of a training set          scout, dataset, model, attack, seed
Survey      what a sanitizer can know of the clean set   dataset, defense
Fit         sanitize, then train                         dataset, model, defense, poison, seed
Take        a model that came trained, as it is          dataset, model
Perturb     attack a block of the test images            fit, wrapper, attack, samples, seed
Inspect     whether the defended model's gradients serve fit, wrapper, samples, seed
Certify     bound what an attack can change              fit, defense, samples, seed

A stage knows no file, no clock and no other process: executors see to these. What the stages make
becomes the row of a cell in `fastadv.grid.measure`.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from fastadv import capabilities, experiment, registry
from fastadv.arrays import Arrays, Floats, Labels
from fastadv.attacks.evasion import without_gradient
from fastadv.datasets import Dataset
from fastadv.defenses.none import NoDefense
from fastadv.grid import cleaning, retraining
from fastadv.grid.blocks import blocks
from fastadv.grid.cell import Choice, Grid
from fastadv.grid.given import untrained
from fastadv.grid.trust.inspection import inspect_all
from fastadv.protocols import Model, Persistent, RobustTraining, SurveyingSanitizer, Wrapper
from fastadv.results import EvasionResult


@dataclass(frozen=True)
class Made:
    """What a stage has made.

    Attributes
    ----------
    arrays : dict of ndarray
        Of numbers or text.
    facts : dict
        Plain values, as JSON has them; an executor adds ``seconds``.
    """

    arrays: Arrays
    facts: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


Dealt = tuple[int, int]  # of which images: see `fastadv.grid.cell.Cell`
Inputs = Mapping[str, Made]  # by the names under which a stage needs them


@dataclass(frozen=True)
class Context:
    """What every stage of one grid works with."""

    grid: Grid
    dataset: Dataset
    given: Any = None  # the model, if it came trained, see `fastadv.grid.given`

    @functools.cached_property
    def models(self) -> dict[int, str]:
        """The spec of each seed's model, with every parameter; of a given one its hash."""
        if self.given is not None:
            return dict.fromkeys(self.grid.seeds, f"given {self.given.given.identity}")
        return {seed: registry.canonical(self.make_model(seed)) for seed in self.grid.seeds}

    def make_model(self, seed: int) -> Any:
        """Build the untrained model of one seed; of a given one a clone, with its draws seeded."""
        if self.given is None:
            return self.grid.make_model(seed)
        return untrained(self.given, seed)

    def new_model(self, seed: int) -> Any:
        """Return an untrained model that knows the data."""
        if self.given is None:
            return experiment.new_model(self.grid.model, seed, self.dataset)
        return capabilities.bound(self.make_model(seed), self.dataset.task, self.dataset.x_train)

    @functools.cached_property
    def portable(self) -> bool:
        """Whether stages can run in other processes.

        A given model is sent to them by what `pickle` makes of it here, if that names no class
        which only this process knows; libraries with threads of their own stay here.
        """
        if self.given is None:
            return True
        if self.given.given.how != "taken over":
            return False
        try:
            written = pickle.dumps(self.given)
        except Exception:  # of any object that does not want to be written
            return False
        return not any(name in written for name in (b"__main__", b"fastadv_factory_"))

    @functools.cached_property
    def _test_rows(self) -> npt.NDArray[np.intp]:
        return experiment.test_rows(self.dataset, self.grid.samples)

    def test_rows(self, dealt: Dealt) -> npt.NDArray[np.intp]:
        """Return the test images for evasion attacks, of one run."""
        k, shares = dealt
        return self._test_rows[k::shares]


class Work(Protocol):
    """Something to compute from the results of stages."""

    @property
    def weight(self) -> float:
        """About how many seconds it takes, for the progress bar."""
        ...

    def label(self) -> str:
        """Return what a user reads while it runs."""
        ...

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the stages whose results it takes, each under the name that it has for it."""
        ...

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Do the work."""
        ...


class Stage(Work, Protocol):
    """A piece of work that cells share: its result hangs on its identity and its needs alone."""

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what its result hangs on beside its needs, in canonical text."""
        ...


@dataclass(frozen=True)
class Scout:
    """Choose what of the poison hangs on the data and the model, and not on the seed."""

    attack: Choice
    known: Choice | None = None
    weight: float = field(default=6.0, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        against = f" against {self.known.text}" if self.known else ""
        return f"{self.attack.text}: scouting{against}"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return no stage."""
        return {}

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the choice hangs on."""
        known = self.known.canonical if self.known else ""
        model = (
            registry.canonical(context.make_model(0))
            if context.given is None
            else context.models[context.grid.seed]
        )
        return context.dataset.fingerprint, model, self.attack.canonical, known

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Choose, and return the plan."""
        data = context.dataset
        known = {"defense": self.known.made} if self.known else {}
        plan = self.attack.made.scout(
            context.new_model(0), data.x_train, data.y_train, data.x_val, data.y_val,
            task=data.task, **known,
        )  # fmt: skip
        return Made({}, {"plan": plan})


@dataclass(frozen=True)
class Poison:
    """Choose the poisoned rows, against the defense ``known`` if the attack adapts to it.

    The training set itself is not kept again.
    """

    attack: Choice
    seed: int
    known: Choice | None = None
    weight: float = field(default=0.6, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        against = f" against {self.known.text}" if self.known else ""
        return f"{self.attack.text}: choosing the poison{against}, seed {self.seed}"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return what is the same for every seed, if there is anything."""
        scouts = capabilities.scouts(self.attack.made)
        return {"scout": Scout(self.attack, self.known)} if scouts else {}

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the poison hangs on."""
        known = self.known.canonical if self.known else ""
        return (
            context.dataset.fingerprint, context.models[self.seed], self.attack.canonical,
            self.seed, known,
        )  # fmt: skip

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Poison, and return the rows."""
        data = context.dataset
        known = {"defense": self.known.made} if self.known else {}
        if "scout" in inputs:
            known["plan"] = inputs["scout"].facts["plan"]
        result = self.attack.made.poison(
            context.new_model(self.seed), data.x_train, data.y_train, data.x_val, data.y_val,
            task=data.task, seed=self.seed, **known,
        )  # fmt: skip
        arrays = {
            "rows": result.X[result.index], "labels": result.y[result.index],
            "index": result.index, "history": result.history, "trigger": result.trigger,
            "origin": result.origin,
        }  # fmt: skip
        given = {name: array for name, array in arrays.items() if array is not None}
        drawn = {name: arrays[name] for name in ("rows", "labels", "index")}
        return Made(given, {"details": result.details, "draw": _hash_of(drawn)})


def training_set(poison: Made, data: Dataset) -> tuple[Floats, Labels]:
    """Return the poisoned training set."""
    index, rows, labels = (poison.arrays[name] for name in ("index", "rows", "labels"))
    if len(index) and index.min() >= len(data.x_train):
        return np.concatenate([data.x_train, rows]), np.concatenate([data.y_train, labels])
    X, y = data.x_train.copy(), data.y_train.copy()
    X[index], y[index] = rows, labels
    return X, y


@dataclass(frozen=True)
class Survey:
    """Look at the clean training set, once for all seeds and poisoned sets, as a sanitizer can."""

    defense: Choice
    weight: float = field(default=3.0, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.defense.text}: surveying the training set"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return no stage."""
        return {}

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the survey hangs on."""
        return context.dataset.fingerprint, self.defense.canonical

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Survey, and return what is known."""
        data = context.dataset
        return Made(cleaning.survey(self.defense.made, data.x_train, data), {})


@dataclass(frozen=True)
class Fit:
    """Sanitize and train."""

    defense: Choice
    poison: Poison | None
    seed: int
    weight: float = field(default=1.6, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        data = f" on {self.poison.attack.text}'s set" if self.poison else ""
        return f"{self.defense.text}: training{data}, seed {self.seed}"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the poison, if there is any, and what the sanitizer knows of the clean set."""
        needed: dict[str, Stage] = {"poison": self.poison} if self.poison else {}
        if isinstance(self.defense.made, SurveyingSanitizer):
            needed["survey"] = Survey(self.defense)
        return needed

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what training hangs on; a defense that only wraps trains like none."""
        defense = self.defense.made if bears_on_training(self.defense.made) else NoDefense()
        training = registry.canonical(defense)
        return context.dataset.fingerprint, context.models[self.seed], training, self.seed

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Train, and return the model."""
        data, poison = context.dataset, inputs.get("poison")
        X, y = training_set(poison, data) if poison else (data.x_train, data.y_train)
        defense, kept = self.defense.made, np.arange(len(X))
        facts: dict[str, Any] = {}
        if cleaning.cleans(defense):
            index, truth = _poisoned(poison, data.y_train)
            surveyed = (inputs["survey"].arrays, index) if "survey" in inputs else None
            model = context.new_model(self.seed)
            keep, labels = cleaning.sanitize(defense, model, X, y, data, self.seed, surveyed)
            facts["sanitized"] = cleaning.shares(keep, labels, y, index, truth)
            X, y, kept = X[keep], labels[keep], kept[keep]
        model = self._trained(X, y, context)
        if capabilities.able(model, Persistent):
            state = model.state()
        else:
            state = retraining.recipe(model, kept, y, poison.arrays if poison else None)
        return Made(
            state, facts | {"unsettled": capabilities.unsettled(model), "weights": _hash_of(state)}
        )

    def _trained(self, X: Floats, y: Labels, context: Context) -> Any:
        """Return the model, trained on what the sanitizer has left."""
        defense, model = self.defense.made, context.new_model(self.seed)
        if isinstance(defense, RobustTraining):
            return defense.fit(model, X, y, task=context.dataset.task, seed=self.seed)
        return model.fit(X, y)

    def model(self, made: Made, context: Context) -> Model:
        """Return the trained model, not wrapped."""
        maker: Any = capabilities.trained_class(self.defense.made) or context.make_model(self.seed)
        if capabilities.able(maker, Persistent):
            trained = maker.from_state(made.arrays)
        else:
            trained = retraining.again(
                made.arrays, context.dataset,
                lambda poison: training_set(Made(poison, {}), context.dataset),
                lambda X, y: self._trained(X, y, context),
            )  # fmt: skip
        model: Model = capabilities.adapted(trained, context.dataset.task)
        return model

    def defended(self, made: Made, context: Context) -> Model:
        """Return the trained model as its users meet it."""
        model, defense = self.model(made, context), self.defense.made
        return defense.wrap(model, task=context.dataset.task) if wraps(defense) else model


@dataclass(frozen=True)
class Take(Fit):
    """The model that came trained, as it is: nothing is trained."""

    poison: None = None
    seed: int = 0
    weight: float = field(default=0.01, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return "taking the model as it is given"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return no stage."""
        return {}

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the model is, and the data whose classes it tells apart."""
        return context.dataset.fingerprint, context.given.given.identity

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Return the hash of the model."""
        return Made({}, {"unsettled": None, "weights": context.given.given.identity})

    def model(self, made: Made, context: Context) -> Model:
        """Return the model as it is given."""
        model: Model = capabilities.adapted(context.given, context.dataset.task)
        return model


def fit_of(context: Context, defense: Choice, seed: int, refit: bool) -> Fit:
    """Return the training of a cell without poison; ``refit``: not of what is given as it is."""
    as_given = context.given is not None and not refit and not bears_on_training(defense.made)
    return Take(defense, None, seed) if as_given else Fit(defense, None, seed)


def _poisoned(poison: Made | None, y_train: Labels) -> tuple[npt.NDArray[np.intp], Labels | None]:
    """Return which rows are poison, and the labels of the images that they started as."""
    if poison is None:
        return cleaning.NO_ROWS, None
    origin = poison.arrays.get("origin")
    return poison.arrays["index"], None if origin is None else y_train[origin]


def bears_on_training(defense: Any) -> bool:
    """Return whether a model is another one for the defense, and not only what stands before it."""
    return cleaning.cleans(defense) or isinstance(defense, RobustTraining)


def wraps(defense: Any) -> bool:
    """Return whether the defense stands before the model."""
    return isinstance(defense, Wrapper)


def _hash_of(state: Arrays) -> str:
    """Return the hash of a trained model's numbers, the same in whatever grid it stands."""
    arrays = {name: array for name, array in sorted(state.items()) if array.dtype.kind in "fiu"}
    sizes = [(name, array.shape, array.dtype.str) for name, array in arrays.items()]
    digest = hashlib.blake2b(repr(sizes).encode(), digest_size=8)
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class OfFit:
    """Base of the stages that need a training alone, and the images of its run.

    A subclass has fields of these names.
    """

    fit: Fit
    dealt: Dealt

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the training."""
        return {"fit": self.fit}

    def _images(self, context: Context) -> tuple[object, ...]:
        """Return what says which images they are."""
        return context.grid.samples, *self.dealt, self.fit.seed


N_EXAMPLES = 16  # kept of each cell, to look at


@dataclass(frozen=True)
class Perturb(OfFit):
    """Attack a block of the test images, through the defense's wrapper if ``adaptive``.

    The attacked images themselves are kept where an attack through a wrapper can ask for them.
    """

    attack: Choice
    fit: Fit
    dealt: Dealt
    adaptive: bool = True
    block: int = 0
    weight: float = field(default=0.4, compare=False)

    @property
    def _through(self) -> bool:
        """Whether it meets what stands before the model."""
        return self.adaptive and wraps(self.fit.defense.made)

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the training; and what is found without the wrapper, to be shown to it."""
        unknowing = {"oblivious": replace(self, adaptive=False)} if self._through else {}
        return super().needs(context) | unknowing

    def rows(self, context: Context) -> npt.NDArray[np.intp]:
        """Return which test images they are."""
        rows = context.test_rows(self.dealt)
        return rows[blocks(len(rows))[self.block]]

    def label(self) -> str:
        """Return what a user reads while it runs."""
        how = "" if self.adaptive else ", oblivious to the defense"
        part = f", block {self.block + 1}" if self.block else ""
        attacks = f"{self.attack.text}: attacking {self.fit.defense.text}{how}"
        return f"{attacks}, seed {self.fit.seed}{part}"

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the attack hangs on."""
        wrapper = _wrapper(self.fit.defense) if self.adaptive else "none"
        n = len(context.test_rows(self.dealt))
        return self.attack.canonical, wrapper, *self._images(context), blocks(n)[self.block]

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Attack, and return what was found of each image, and some images or all."""
        data, rows, fit = context.dataset, self.rows(context), inputs["fit"]
        X, y, task, seed = data.x_test[rows], data.y_test[rows], data.task, self.fit.seed
        attack, bare, oblivious = self.attack.made, None, None
        model = (self.fit.defended if self.adaptive else self.fit.model)(fit, context)
        if self._through:
            bare = self.fit.model(fit, context)
            oblivious = evasion_result(inputs["oblivious"])
        result = without_gradient.perturb(
            attack, model, X, y, task=task, seed=seed, undefended=bare, oblivious=oblivious
        )
        facts: dict[str, Any] = {"queries": result.queries}
        if without_gradient.applies(attack, model):
            account = without_gradient.account(
                attack, model, X, y, result, task=task, seed=seed, undefended=bare
            )
            facts["found"] = msgspec.to_builtins(account)
        arrays = self._found(result, context)
        if oblivious is not None:
            shown = np.where(oblivious.success[:, None], oblivious.x_adv, X)
            arrays["survives_oblivious"] = model.predict(shown) == y
        low, high = task.bounds
        facts["outside"] = bool(result.x_adv.min() < low or result.x_adv.max() > high)
        facts["n_impossible"] = task.n_impossible(X, result.x_adv)
        return Made(arrays | {"attacked": model.predict(result.x_adv)}, facts)

    def _found(self, result: EvasionResult, context: Context) -> Arrays:
        """Return what is kept of a result."""
        arrays: Arrays = {f"distance_{name}": values for name, values in result.distances.items()}
        defense = self.fit.defense.made
        shared = not self.adaptive or not (wraps(defense) or bears_on_training(defense))
        return arrays | ({"x_adv": result.x_adv} if shared else {}) | {
            "examples_adv": result.x_adv[:N_EXAMPLES], "is_adv": result.is_adv,
            "success": result.success, "misclassified": result.misclassified,
        }  # fmt: skip


def evasion_result(perturb: Made) -> EvasionResult:
    """Return what the attack of a `Perturb` found, of those whose images are kept."""
    arrays = perturb.arrays
    distances = {
        name.removeprefix("distance_"): values
        for name, values in arrays.items()
        if name.startswith("distance_")
    }
    return EvasionResult(
        arrays["x_adv"], arrays["is_adv"], arrays["success"], arrays["misclassified"], distances,
        queries=perturb.facts["queries"],
    )  # fmt: skip


def _wrapper(defense: Choice) -> str:
    return defense.canonical if wraps(defense.made) else "none"


@dataclass(frozen=True)
class Inspect(OfFit):
    """Look at the gradients of the defended model, as attacks meet it, on their test images."""

    fit: Fit
    dealt: Dealt
    weight: float = field(default=0.1, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.fit.defense.text}: inspecting its gradients, seed {self.fit.seed}"

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the inspection hangs on."""
        return _wrapper(self.fit.defense), *self._images(context)

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Inspect, and return what shows."""
        data, rows = context.dataset, context.test_rows(self.dealt)
        model = self.fit.defended(inputs["fit"], context)
        shown = inspect_all(model, data.x_test, data.y_test, rows, data.task)
        return Made({}, {"probe": msgspec.to_builtins(shown)})


@dataclass(frozen=True)
class Certify(OfFit):
    """Certify, for each test image that evasion attacks get, how far no attack can change it."""

    fit: Fit
    dealt: Dealt
    weight: float = field(default=3.0, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.fit.defense.text}: certifying, seed {self.fit.seed}"

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the certificates hang on."""
        return self.fit.defense.canonical, *self._images(context)

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Certify, and return labels and radii."""
        x, task, rows = context.dataset.x_test, context.dataset.task, context.test_rows(self.dealt)
        model, certify = self.fit.model(inputs["fit"], context), self.fit.defense.made.certify
        found = [
            certify(model, x[rows[part]], task=task, seed=self.fit.seed)
            for part in blocks(len(rows))
        ]
        label, radius = [one.label for one in found], [one.radius for one in found]
        return Made({"label": np.concatenate(label), "radius": np.concatenate(radius)}, {})
