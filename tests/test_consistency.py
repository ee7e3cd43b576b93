"""The consistency law: certified accuracy <= accuracy under attack <= clean accuracy, image by image."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs

from fastadv import registry
from fastadv.models.mlp import MLPClassifier
from fastadv.protocols import Certifier, EvasionAttack, Model, RobustTraining, Wrapper

X, Y = blobs(120)
X_TEST, Y_TEST = blobs(60, seed=1)
WITHIN = 1 + 1e-5  # how far float32 may round a distance beyond its budget

# Of attacks and defenses that take many steps, a few.
FEWER = {
    "square": "square[queries=60]",
    "cw": "cw[steps=30,search_steps=3]",
    "stadv": "stadv[steps=20]",
    "adv_training": "adv_training[epochs=20,batch_size=16]",
    "smoothing": "smoothing[sigma=0.1,n=1000]",
    "dpa": "dpa[partitions=7,blur=0]",
    "bagging": "bagging[models=9,images=20,blur=0]",
    "interval": "interval[epochs=60,batch_size=16,eps=0.05]",
}
ATTACKS = [entry.name for entry in registry.ATTACKS if entry.kind == "evasion"]
DEFENSES = [
    entry.name
    for entry in registry.DEFENSES
    if isinstance(registry.make_defense(entry.name), RobustTraining | Wrapper | Certifier)
]
MADE = {name: registry.make_defense(name) for name in DEFENSES}
# Those that prove something of changed images; of changed training sets, see defenses/test_voting.
CERTIFIERS = [
    name
    for name, made in MADE.items()
    if isinstance(made, Certifier) and made.threat().distance is not None
]


def skip_if_refused(attack: str, defense: str) -> None:
    """Skip what a grid would skip, too."""
    refuses = getattr(MADE.get(defense), "refuses", None)
    reason = refuses(attack_of(attack)) if refuses else None
    if reason:
        pytest.skip(reason)


def attack_of(name: str, **changes: Any) -> EvasionAttack:
    """An attack in its short form, with the changes that it has fields for."""
    entry = registry.find("attack", name)
    known = {f.name for f in fields(entry.load())}
    spec = FEWER.get(name, name)
    given = [f"{key}={value}" for key, value in changes.items() if key in known]
    inner = ",".join([*([spec.partition("[")[2][:-1]] if "[" in spec else []), *given])
    made: EvasionAttack = registry.make_attack(f"{name}[{inner}]" if inner else name)
    return made


@pytest.fixture(scope="module")
def trained() -> dict[str, tuple[Any, Model, Model]]:
    """Each defense, the model that it trained, and that model as its users meet it."""
    found = {}
    for name in ["none", *DEFENSES]:
        defense = registry.make_defense(FEWER.get(name, name))
        untrained = MLPClassifier((8,), batch_size=20, max_iter=12, learning_rate_init=0.3)
        if isinstance(defense, RobustTraining):
            model: Model = defense.fit(untrained, X, Y, task=TASK, seed=0)
        else:
            model = untrained.fit(X, Y)
        met = defense.wrap(model, task=TASK) if isinstance(defense, Wrapper) else model
        found[name] = (defense, model, met)
    return found


@pytest.mark.compiled
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("defense", ["none", *DEFENSES])
def test_no_attack_makes_a_wrong_image_right(
    attack: str, defense: str, trained: dict[str, tuple[Any, Model, Model]]
) -> None:
    skip_if_refused(attack, defense)
    model = trained[defense][2]
    clean = model.predict(X_TEST) == Y_TEST
    assert clean.mean() > 0.6
    result = attack_of(attack).perturb(model, X_TEST, Y_TEST, task=TASK)
    attacked = model.predict(result.x_adv) == Y_TEST
    assert np.all(attacked <= clean)
    np.testing.assert_array_equal(~result.misclassified & ~result.is_adv, attacked)


@pytest.mark.compiled
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("defense", ["none", *DEFENSES])
def test_an_empty_budget_changes_nothing(
    attack: str, defense: str, trained: dict[str, tuple[Any, Model, Model]]
) -> None:
    skip_if_refused(attack, defense)
    model = trained[defense][2]
    made = attack_of(attack, eps=0, budget=0, rotation=0, translation=0)
    result = made.perturb(model, X_TEST, Y_TEST, task=TASK)
    threat = made.threat()
    assert not any(threat.limits or [threat.budget])
    assert threat.distance is not None
    robust = ~result.misclassified & ~result.success
    np.testing.assert_array_equal(robust, model.predict(X_TEST) == Y_TEST)


@pytest.mark.compiled
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("defense", CERTIFIERS)
def test_no_attack_breaks_a_certificate(
    attack: str, defense: str, trained: dict[str, tuple[Any, Model, Model]]
) -> None:
    certifier, model, met = trained[defense]
    kind = certifier.threat().kind
    certificate = certifier.certify(model, X_TEST, task=TASK, seed=0)
    held = certificate.label == Y_TEST
    assert (held & (certificate.radius > 0)).mean() > 0.5, "there is something to break"
    clean = met.predict(X_TEST) == Y_TEST
    for share in (0.25, 0.5, 0.75, 1.0):  # budgets within the radius of few images and of most
        budget = float(np.quantile(certificate.radius[held], share))
        made = attack_of(attack, norm=kind, eps=budget, budget=budget)
        result = made.perturb(met, X_TEST, Y_TEST, task=TASK)
        attacked = ~result.misclassified & ~result.is_adv
        if kind in result.distances:  # measured, whatever the attack itself was bounded by
            reached = result.distances[kind]
            within = reached <= budget * WITHIN
            attacked |= ~result.misclassified & ~within
            broken = held & result.is_adv & (reached * WITHIN <= certificate.radius)
            assert not broken.any()
        certified = held & (certificate.radius >= budget * WITHIN)
        assert np.all(certified <= attacked)
        assert np.all(attacked <= clean)
