"""Ours beside made-up libraries that are stronger, weaker, cheat, or are not installed."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp
from rich.console import Console

from fastadv import InputError, make_attack
from fastadv.benchmarks import strength
from fastadv.benchmarks.peers import NEEDS, evasion
from fastadv.benchmarks.strength import Victim
from fastadv.benchmarks.strength_table import strength_table
from fastadv.cli.app import main

X, Y = blobs(120)
SQUARE = "square[eps=0.15,queries=6]"
FGSM, CW = "fgsm[eps=0.1]", "cw[budget=0.3,steps=10,search_steps=1]"


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library whose FGSM is PGD, one that steps out of the budget, one that is not there."""
    model = small_mlp(12).fit(X, Y)

    def by(attack: str) -> Callable[[evasion.Problem], evasion.Attacked]:
        made = make_attack(attack)
        return lambda p: lambda: made.perturb(p.model, p.X, p.y, task=TASK, seed=p.seed).x_adv

    monkeypatch.setattr(
        evasion, "problem", lambda attack, *_: evasion.Problem(attack, model, X, Y, TASK)
    )
    strong, cheat, gone = by("pgd[eps=0.1,restarts=3]"), by("pgd[eps=0.5]"), by("noise")
    monkeypatch.setattr(
        evasion,
        "PEERS",
        {
            FGSM: (("strong", strong), ("cheat", cheat), ("gone", gone)),
            "pgd[eps=0.1]": (("strong", by("pgd[eps=0.1]")),),
            CW: (("strong", by(CW)),),
            SQUARE: (("strong", by(SQUARE)),),
        },
    )
    monkeypatch.setattr(strength, "VICTIMS", strength.VICTIMS[:2])
    monkeypatch.setattr(evasion, "AUTO_ATTACK", {})  # torchattacks' knows no problem of 3 classes
    for name in ("strong", "cheat"):
        monkeypatch.setitem(NEEDS, name, ((), ""))
    monkeypatch.setitem(NEEDS, "gone", (("no_such_module",), "pip install it"))


def survivors(attack: str, seed: int = 0) -> np.ndarray:
    posed = replace(evasion.problem(attack), seed=seed)
    return posed.survives(evasion.fastadv(posed)())


@pytest.mark.compiled
@pytest.mark.usefixtures("libraries")
def test_accuracies_attack_by_attack_and_together() -> None:
    found = list(strength.matches([Victim("mlp", "none", len(X))]))
    table = {(m.attack, m.threat, m.library): m for m in found}
    strong = table[FGSM, "linf(0.1)", "strong"]
    assert strong.ours == survivors(FGSM).mean()
    assert strong.theirs == survivors("pgd[eps=0.1,restarts=3]").mean()
    assert strong.weaker == strong.ours - strong.theirs
    cheat = table[FGSM, "linf(0.1)", "cheat"]  # beyond the budget nothing counts
    assert cheat.theirs is not None
    assert cheat.theirs > survivors("pgd[eps=0.5]").mean()
    gone = table[FGSM, "linf(0.1)", "gone"]
    assert (gone.theirs, gone.weaker, gone.too_weak) == (None, None, False)
    assert gone.reason == "no_such_module is not installed: pip install it"
    together = table["worst", "linf(0.1)", "strong"]
    assert together.ours == (survivors(FGSM) & survivors("pgd[eps=0.1]")).mean()
    assert table["worst", "l2(0.3)", "strong"].weaker == 0
    same = table[CW, "l2(0.3)", "strong"]
    searched = table[SQUARE, "linf(0.15)", "strong"]
    seeds = [survivors(SQUARE, seed).mean() for seed in range(strength.SEEDS)]
    assert len(set(seeds)) > 1
    assert searched.ours == searched.theirs == pytest.approx(np.mean(seeds))
    error = np.std(seeds, ddof=1) * math.sqrt(2 / len(seeds))
    assert (searched.error, strong.error) == (pytest.approx(error), 0)
    assert table["worst", "linf(0.15)", "strong"].ours == seeds[0]
    assert same.median_ours is not None
    assert same.median_ours == same.median_theirs


def test_a_tenth_too_weak_is_told_and_three_tenths_are_allowed() -> None:
    match = strength.Match(defense="none", attack="a", threat="t", library="l", n=1000)
    for ours, too_weak in ((0.503, False), (0.504, True), (0.4, False)):
        match.ours, match.theirs = ours, 0.5
        assert match.too_weak == too_weak
    match.error = 0.002  # what chance may do is not held against us
    for ours, too_weak in ((0.506, False), (0.508, True)):
        match.ours = ours
        assert match.too_weak == too_weak


@pytest.mark.compiled
@pytest.mark.usefixtures("libraries")
def test_the_table_fits_and_names_what_is_absent() -> None:
    found = list(
        strength.matches(
            [Victim("mlp", name, len(X)) for name in ("none", "adv_training[epochs=2]")]
        )
    )
    found[0].ours = 0.9
    found[0].theirs = 0.5
    stream = io.StringIO()
    Console(file=stream, width=100).print(strength_table(found))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "+40.0" in text
    assert text.count("too weak") == 1 + sum(m.too_weak for m in found[1:])
    assert "gone: no_such_module is not installed: pip install it" in text


@pytest.mark.compiled
@pytest.mark.usefixtures("libraries")
def test_the_command(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    file = f"{tmp_path}/out.json"
    assert main(["bench", "--suite", "strength", "--only", "pgd", "--json", file]) == 0
    assert "worst" in capsys.readouterr().out
    assert main(["bench", "--suite", "strength", "--only", "stadv"]) == 2
    assert "no attack that other libraries have" in capsys.readouterr().err


@pytest.mark.compiled
@pytest.mark.usefixtures("libraries")
def test_what_is_asked_of_a_network_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    cnn = Victim("cnn", "none", len(X), (FGSM,))
    monkeypatch.setattr(
        strength, "absent", lambda needs, _: None if "torch" in needs or not needs else "gone"
    )
    found = list(strength.matches([cnn], only="cnn fgsm"))
    assert [(m.defense, m.attack, m.library) for m in found[:2]] == [
        ("cnn", FGSM, "strong"), ("cnn", FGSM, "cheat"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="no attack that other libraries have"):
        list(strength.matches([cnn], only="cnn pgd"))
    monkeypatch.setattr(strength, "absent", lambda *_: "torch is not installed: pip install torch")
    (only,) = strength.matches([cnn])
    assert only.reason == "torch is not installed: pip install torch"
    text = io.StringIO()
    Console(file=text, width=100).print(strength_table([only]))
    assert "torch is not installed" in text.getvalue()
