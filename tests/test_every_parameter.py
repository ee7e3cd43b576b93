"""Every parameter changes something or is refused: a walk over all that is registered."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, needs_torch, small_mlp

from fastadv import SVC, Dataset, InputError, Task, capabilities, make_attack, registry
from fastadv.grid import cleaning
from fastadv.manual import parameters_of
from fastadv.protocols import (
    Certifier,
    EvasionAttack,
    ModelSanitizer,
    RobustTraining,
    Sanitizer,
    Wrapper,
)

X, Y = blobs(90)
X_VAL, Y_VAL = blobs(45, seed=2)
NOISY = np.where(np.arange(90) % 11 == 0, (Y + 1) % 3, Y)  # something to be cleaned
TWO = Task((5, 4), 2)

# By name: what every spec of it begins with, and for each parameter a value that changes the result
# (with what else it takes to be seen, after a semicolon; before and after the change, with a bar).
CHANGES: dict[str, dict[str, dict[str, str]]] = {
    "attack": {
        "noise": {"": "eps=0.3", "eps": "0.2", "norm": "l2", "draws": "9"},
        "fgsm": {"": "eps=0.3", "eps": "0.2", "norm": "l2"},
        "pgd": {
            "": "eps=0.3,steps=5", "eps": "0.2", "norm": "l2", "steps": "3", "step_size": "0.01",
            "restarts": "3", "keep": "first",
        },
        "apgd": {
            "": "eps=0.3,steps=6", "eps": "0.2", "norm": "l2", "steps": "3",
            "restarts": "8;eps=0.1,steps=1", "loss": "dlr", "targets": "2",
        },
        "square": {
            "": "eps=0.3,queries=30", "eps": "0.2", "norm": "l2", "queries": "3", "area": "0.1",
            "edges": "true",
        },
        "deepfool": {"": "", "norm": "linf", "steps": "1", "overshoot": "0.5", "budget": "0.5"},
        "cw": {
            "": "steps=40,search_steps=3", "kappa": "1", "steps": "3", "search_steps": "1",
            "initial_c": "0.01", "rate": "0.05", "budget": "0.5",
        },
        "stadv": {
            "": "steps=9", "tau": "0.1", "kappa": "0.5", "steps": "3", "search": "true;tau=0.2",
            "keep": "last", "target": "2", "neighbors": "diagonal;tau=0.05", "translation": "true",
            "budget": "3", "max_shift": "0.7", "init": "0.3",
        },
        "spatial": {
            "": "", "rotation": "10", "translation": "1", "method": "random",
            "samples": "2;method=random",
        },
        "train_noise": {
            "": "", "fraction": "0.1", "points": "9", "sigma": "0.1", "labels": "kept",
            "replace": "true",
        },
        "label_flip": {
            "": "", "strategy": "worst", "fraction": "0.1", "points": "9", "replace": "true",
            "regions": "1;strategy=coherent,points=10",
        },
        "backdoor": {"": "", "fraction": "0.1", "points": "9", "target": "2", "patch": "2"},
        "biggio": {
            "": "points=3,steps=2", "fraction": "0.1;points=none", "points": "4", "steps": "4",
            "step_size": "0.2", "restarts": "1", "labels": "2", "objective": "2-1", "passes": "1",
            "norm": "linf;eps=0.1", "eps": "0.1", "subset_size": "30",
            "regions": "1;subset_size=30,points=10",
        },
        "biggio, large": {
            "": "points=20,steps=2,subset_size=30,objective=2-1", "labels": "0",
            "objective": "1-2", "passes": "1", "eps": "0.1", "step_size": "0.9", "steps": "1",
        },
    },
    "defense": {
        "adv_training": {
            "": "epochs=2,batch_size=32", "attack": "pgd[eps=0.3]", "epochs": "1",
            "batch_size": "64", "warm": "false", "loss": "trades", "beta": "1;loss=trades",
        },
        "knn_relabel": {"": "", "neighbors": "1", "eta": "0.9;neighbors=40", "components": "1"},
        "outlier": {"": "", "neighbors": "1", "keep": "0.5", "trusted": "false"},
        "sphere_slab": {"": "", "keep": "0.5", "slab": "false;keep=0.6", "trusted": "false"},
        "loss_trim": {
            "": "fraction=0.1", "fraction": "0.3", "rounds": "1", "epochs": "1",
            "tolerance": "0.9",
        },
        "trigger_scan": {
            "": "epochs=2", "method": "clustering;separation=0.5|silhouette=-1", "separation": "0.5",
            "silhouette": "-1;method=clustering", "epochs": "5;separation=2.5",
        },
        "dpa": {"": "partitions=9", "partitions": "3", "blur": "0", "budget": "5"},
        "bagging": {
            "": "models=30,images=20", "models": "40", "images": "9", "alpha": "0.5;models=200",
            "blur": "0", "budget": "5",
        },
        "median": {"": "", "size": "3"}, "mean": {"": "", "size": "2"},
        "bit_depth": {"": "", "bits": "2"},
        "interval": {
            "": "epochs=3,batch_size=32", "eps": "0.3", "kappa": "0.9", "ramp": "0.9",
            "epochs": "2", "batch_size": "16",
        },
        "smoothing": {
            "": "n=200,draws=16,n0=20", "sigma": "0.1", "radius": "0.1", "n0": "3", "n": "100",
            "alpha": "0.1", "draws": "3",
        },
    },
    "model": {
        "mlp": {
            "": "hidden_layer_sizes=6,max_iter=3,batch_size=16", "hidden_layer_sizes": "5",
            "activation": "relu", "batch_size": "32", "learning_rate": "linear",
            "learning_rate_init": "0.1", "momentum": "0.5", "alpha": "0.5", "max_iter": "2",
            "random_state": "1", "early_stopping": "true",
            "tol": "0.5;learning_rate=constant,n_iter_no_change=1,max_iter=9",
            "n_iter_no_change": "2;learning_rate=constant,tol=0.5,max_iter=20",
            "validation_fraction": "0.3;early_stopping=true",
        },
        "svm": {"": "", "C": "0.01", "kernel": "rbf", "gamma": "0.3;kernel=rbf"},
        "cnn": {
            "": "channels=2-3,hidden=5,epochs=2,batch_size=16,lr=0.05", "channels": "2", "hidden": "4",
            "epochs": "3", "batch_size": "32", "lr": "0.1", "weight_decay": "0.1",
            "random_state": "1",
        },
    },
}  # fmt: skip


def spec(name: str, *parts: str) -> str:
    """A spec in which later parameters stand for earlier ones."""
    given: dict[str, str] = {}
    for part in filter(None, parts):
        for parameter in part.split(",") if "[" not in part else [part]:
            key, _, value = parameter.partition("=")
            given[key] = value
    inner = ",".join(f"{key}={value}" for key, value in given.items() if value != "none")
    return f"{name}[{inner}]"


@functools.cache
def model() -> Any:
    bent = {"hidden_layer_sizes": (12, 12), "activation": "relu", "learning_rate_init": 0.05}
    return small_mlp(100, **bent).fit(X, Y)


@functools.cache
def data() -> Dataset:
    return Dataset("blobs", X, NOISY, X_VAL, Y_VAL, X_VAL, Y_VAL, TASK)


def attacked(attack: Any) -> list[Any]:
    if isinstance(attack, EvasionAttack):
        found = attack.perturb(model(), X, Y, task=TASK)
        return [found.x_adv, found.is_adv, str(attack.threat())]
    found = attack.poison(small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK)
    return [found.X, found.y, found.history, str(attack.threat())]


def defended(defense: Any) -> list[Any]:
    out, trained = [], model()
    if isinstance(defense, Sanitizer | ModelSanitizer):
        out += cleaning.sanitize(defense, small_mlp(), X, NOISY, data(), 0)
    if isinstance(defense, RobustTraining):
        trained = defense.fit(small_mlp(), X, Y, task=TASK, seed=0)
        out += [trained.logits(X)]
    if isinstance(defense, Wrapper):
        out += [defense.wrap(trained, task=TASK).logits(X)]
    if isinstance(defense, Certifier):
        found = defense.certify(trained, X, task=TASK, seed=0)
        out += [found.label, found.radius, str(defense.threat())]
    return out


def learnt(untrained: Any) -> list[Any]:
    if isinstance(untrained, SVC):
        x, y = blobs(60, task=TWO)
        return [untrained.fit(x[:, :3], y).decision_function(x[:, :3])]
    return [capabilities.bound(untrained, TASK, X).fit(X, Y).logits(X)]


RESULT = {"attack": attacked, "defense": defended, "model": learnt}


@functools.cache
def result(what: str, text: str) -> tuple[Any, ...]:
    """The bytes of all that comes of it."""
    found = RESULT[what](registry.make(what, text))
    return tuple(a.tobytes() if isinstance(a, np.ndarray) else a for a in found)


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("what", "case", "parameter", "value"),
    [
        needs_torch(what, case, parameter, value)
        for what, cases in CHANGES.items()
        for case, changes in cases.items()
        for parameter, value in changes.items()
        if parameter
    ],
)
def test_a_parameter_changes_the_result(what: str, case: str, parameter: str, value: str) -> None:
    name, changes = case.partition(",")[0], CHANGES[what][case]
    value, _, also = value.partition(";")
    also, _, then = also.partition("|")
    if parameter == "points" and "points" not in also:
        changes = changes | {"": changes[""].replace("fraction", "no")}
    before = spec(name, changes[""], also)
    after = spec(name, changes[""], then or also, f"{parameter}={value}")
    assert before != after
    assert result(what, before) != result(what, after)


@pytest.mark.parametrize("what", CHANGES)
def test_the_walk_leaves_none_out(what: str) -> None:
    for entry in registry.REGISTRY[what]:
        if entry.name != "none":
            walked = set(CHANGES[what][entry.name]) - {""}
            assert walked == {parameter.name for parameter in parameters_of(entry)}, entry.name


REFUSED = [
    ("attack", "stadv[max_shift=1,keep=last]", "keep"), ("attack", "stadv[max_shift=1,search=true]", "search"),
    ("attack", "stadv[max_shift=1,budget=5]", "budget"), ("attack", "stadv[max_shift=1,kappa=1]", "kappa"),
    ("attack", "stadv[max_shift=1,tau=1]", "tau"), ("attack", "stadv[neighbors=diagonal]", "neighbors"),
    ("attack", "stadv[translation=true,tau=1]", "translation"), ("attack", "stadv[search=false]", "search"),
    ("attack", "spatial[samples=3]", "samples"), ("attack", "label_flip[regions=1]", "regions"),
    ("attack", "label_flip[points=3,fraction=0.1]", "fraction"),
    ("attack", "backdoor[points=3,fraction=0.1]", "fraction"),
    ("attack", "biggio[points=3,fraction=0.1]", "fraction"), ("attack", "biggio[norm=linf]", "norm"),
    ("defense", "adv_training[beta=1]", "beta"),
    ("defense", "adv_training[attack=stadv[budget=5]]", "budget"),
    ("defense", "adv_training[attack=cw[budget=5]]", "budget"),
    ("defense", "trigger_scan[silhouette=0.1]", "silhouette"),
    ("defense", "trigger_scan[method=clustering,separation=1]", "separation"),
    ("model", "svm[gamma=0.3]", "gamma"),
    ("model", "mlp[tol=0.1]", "tol"), ("model", "mlp[learning_rate=constant,tol=0.1]", "tol"),
    ("model", "mlp[n_iter_no_change=3]", "n_iter_no_change"),
    ("model", "mlp[learning_rate=constant,tol=none,n_iter_no_change=3]", "n_iter_no_change"),
    ("model", "mlp[validation_fraction=0.2]", "validation_fraction"),
    ("attack", "train_noise[points=3,fraction=0.1]", "fraction"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "text", "parameter"), REFUSED)
def test_a_parameter_without_a_part_is_refused(what: str, text: str, parameter: str) -> None:
    with pytest.raises(InputError, match=rf"{parameter}=\S+ .*(has no part|needs|is for)"):
        registry.make(what, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("biggio[points=3,regions=1]", "regions=1 has no part: it is for more than subset_size=1000"),
        ("biggio[points=3,subset_size=30,labels=random]", "labels=random is for up to subset_size=30"),
    ],
)  # fmt: skip
def test_what_the_size_of_the_training_set_leaves_without_a_part(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_attack(text).poison(small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK)


def test_points_that_move_in_turn_in_parts_of_unequal_size() -> None:
    attack = make_attack("biggio[points=10,steps=2,subset_size=25,passes=1]")
    found = attack.poison(small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK)
    assert len(found.index) == 10
    assert np.isfinite(found.history).all()


@pytest.mark.parametrize("text", ["loss_trim[epochs=3]", "trigger_scan[epochs=3]"])
def test_epochs_of_a_model_that_has_none(text: str) -> None:
    defense, x, y = registry.make_defense(text), *blobs(60, task=TWO)
    says = "epochs=3 has no part: the model does not learn in epochs"
    assert defense.supports(SVC(), TWO) == says
    with pytest.raises(InputError, match=says):
        defense.screen(SVC(), x, y, task=TWO, seed=0)
    assert registry.make_defense(text.partition("[")[0]).supports(SVC(), TWO) is None
