"""Parameters: constructors take what specs take, and refuse what specs refuse, in one line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp, write_npz

from fastadv import (
    SVC,
    InputError,
    MLPClassifier,
    Task,
    make_attack,
    make_defense,
    registry,
    run_grid,
)
from fastadv.attacks.evasion.pgd import PGD
from fastadv.attacks.poisoning.biggio import Biggio
from fastadv.defenses.sanitizers.sphere_slab import SphereSlab
from fastadv.specs import coerce, written_kinds

X, Y = blobs()
DATACLASSES = [
    (what, entry.name)
    for what in ("attack", "defense")
    for entry in registry.REGISTRY[what]
    if entry.name != "none"
]

# Values that no parameter of these types takes, as constructors and as specs get them.
WRONG: dict[Any, list[tuple[Any, str]]] = {
    int: [(2.5, "2.5"), ("two", "two"), (True, "true"), (None, "none"), (np.float64(2.5), "2.5")],
    float: [
        ("much", "much"),
        (np.inf, "inf"),
        (np.nan, "nan"),
        (1e300, "1e300"),
        (-2e18, "-2e18"),
        (True, "true"),
        ([1.0], "1-1"),
    ],
    bool: [("maybe", "maybe"), (2, "2"), (None, "none")],
    tuple[int, ...]: [((1.5,), "1.5"), ("a", "a")],
}


def kinds_of(kind: Any) -> list[Any]:
    """The members of a union, or the type itself; None is left out."""
    members = get_args(kind) if get_origin(kind) not in (Literal, tuple) else ()
    return [member for member in members if member is not type(None)] or [kind]


def wrong_for(kind: Any) -> list[tuple[Any, str]]:
    members = kinds_of(kind)
    optional = type(None) in get_args(kind)
    if any(get_origin(member) is Literal for member in members):
        return [("no such word", "nosuchword"), (["x"], "x-y"), (np.nan, "nan"), (2.5, "2.5")]
    return [w for w in WRONG.get(members[0], []) if not (optional and w[0] is None)]


@pytest.mark.parametrize(("what", "name"), DATACLASSES)
def test_a_constructor_refuses_what_a_spec_refuses(what: str, name: str) -> None:
    good = registry.make(what, name)
    given = {f.name: getattr(good, f.name) for f in fields(good)}
    kinds = written_kinds(type(good))
    checked = 0
    for field in (field for field in given if field in kinds):
        for value, text in wrong_for(kinds[field]):
            with pytest.raises(InputError, match=f"^{field} has to be") as caught:
                type(good)(**given | {field: value})
            assert "\n" not in str(caught.value)
            with pytest.raises(InputError, match=f"{name}: {field} has to be"):
                registry.make(what, f"{name}[{field}={text}]")
            checked += 1
    assert checked or not kinds


@pytest.mark.parametrize("norm", ["Linf", "inf", np.inf, "l1", "LINF", 2, None])
def test_norms_that_are_none(norm: Any) -> None:
    with pytest.raises(InputError, match="norm has to be one of linf, l2, got"):
        PGD(norm=norm)


def test_a_slip_is_told_the_word() -> None:
    with pytest.raises(InputError, match="did you mean linf"):
        PGD(norm="Linf")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one of best, first, last, got 'x'"):
        PGD(keep="x")  # type: ignore[arg-type]


def test_numbers_of_numpy_become_plain() -> None:
    attack = PGD(
        eps=np.float32(0.5), steps=np.int64(3), step_size=np.float64(0.1), keep=np.str_("last")
    )  # type: ignore[arg-type]
    assert attack == PGD(eps=0.5, steps=3, step_size=0.1, keep="last")
    assert [type(getattr(attack, name)) for name in ("eps", "steps", "step_size")] == [
        float,
        int,
        float,
    ]
    assert SphereSlab(slab=np.bool_(False)).slab is False  # type: ignore[arg-type]
    assert Biggio(labels=8) == make_attack("biggio[labels=8]")
    row_safe = registry.parameters(PGD(eps=1))
    assert row_safe["eps"] == 1.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8/255", 8 / 255), (".1", 0.1), ("1.", 1.0), ("1e-3", 1e-3), ("+.5", 0.5), ("2.5e1", 25.0),
        (" 1 / 4 ", 0.25), ("0.1", 0.1), ("3", 3.0),
    ],
)  # fmt: skip
def test_how_a_number_may_be_written(text: str, number: float) -> None:
    assert coerce(text, float, "x") == number
    assert coerce(text, float | None, "x") == number
    assert make_attack(f"cw[budget={text}]").budget == number
    again = registry.canonical(make_attack(f"cw[budget={text}]"))
    assert make_attack(again).budget == number  # the canonical text is read back exactly


@pytest.mark.parametrize(
    "text", ["8/0", "1/2/3", "0x10", "1_000", "١", "1,5", "--1", ".", "/2", "e5"]
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(InputError, match="has to be a number, got"):
        coerce(text, float, "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_shape": "28"}, "image_shape has to be"), ({"image_shape": 784}, "image_shape has"),
        ({"image_shape": (28.5, 28)}, "image_shape has"), ({"image_shape": ("a", "b")}, "image_shape has"),
        ({"n_classes": 2.5}, "n_classes has to be a whole number"), ({"n_classes": None}, "n_classes"),
        ({"bounds": (1, 0)}, "bounds has to be"), ({"bounds": (0, np.nan)}, "bounds has to be"),
        ({"bounds": 1}, "bounds has to be"), ({"bounds": (0, 1, 2)}, "bounds has to be"),
        ({"bounds": ("a", "b")}, "bounds has to be"),
    ],
)  # fmt: skip
def test_a_task_that_makes_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Task(**{"image_shape": (5, 4), "n_classes": 3} | changes)
    assert "\n" not in str(caught.value)
    assert Task((np.int64(5), 4), np.int32(3), (np.float32(0), 1)) == Task((5, 4), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": [object()]}, r"attacks are texts such as 'pgd\[eps=0.1\]', got <object"),
        ({"attacks": [PGD()]}, "attacks are texts .* got PGD"), ({"attacks": PGD()}, "attacks are texts"),
        ({"attacks": None}, "attacks are texts"), ({"attacks": ["pgd", 3]}, "attacks are texts"),
        ({"defenses": [make_defense("median")]}, "defenses are texts such as 'median"),
        ({"dataset": 3}, "dataset has to be a name, a path or a Dataset, got 3"),
        ({"dataset": np.zeros((3, 3))}, "dataset has to be a name"),
        ({"model": MLPClassifier()}, "MLPClassifier is not trained: call its fit first"),
        ({"samples": 2.5}, "samples has to be a whole number"), ({"repeats": "x"}, "repeats has to be"),
        ({"seed": None}, "seed has to be a whole number"), ({"jobs": 1.5}, "jobs has to be"),
        ({"timeout": "soon"}, "timeout has to be a number or none"),
    ],
)  # fmt: skip
def test_a_grid_that_makes_no_sense(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    given = {"attacks": ["fgsm"], "dataset": write_npz(tmp_path / "data.npz")}
    with pytest.raises(InputError, match=message) as caught:
        run_grid(**{"repeats": 1} | given | changes)
    assert "\n" not in str(caught.value)


def test_estimators_check_at_fit_and_keep_what_they_were_given() -> None:
    given = {"batch_size": 10.0, "C": "1", "kernel": "poly"}
    for make, name in ((MLPClassifier, "batch_size"), (SVC, "C"), (SVC, "kernel")):
        model = make(**{name: given[name]})
        assert model.get_params()[name] == given[name]
        with pytest.raises(InputError, match=f"{name} has to be"):
            model.fit(X, Y)


def test_a_trained_model_with_fit_need_not_name_its_classes() -> None:
    trained = small_mlp().fit(X, Y)

    class Network:
        vjp = staticmethod(trained.vjp)

        def fit(self, x: np.ndarray, y: np.ndarray) -> None:
            raise AssertionError

    found = make_attack("fgsm").perturb(Network(), X, Y, task=TASK)
    wanted = make_attack("fgsm").perturb(trained, X, Y, task=TASK)
    np.testing.assert_array_equal(found.x_adv, wanted.x_adv)
    with pytest.raises(InputError, match="MLPClassifier is not trained: call its fit first"):
        make_attack("fgsm").perturb(small_mlp(), X, Y, task=TASK)


def test_values_just_outside_are_told_with_all_their_digits() -> None:
    x = X.copy()
    x[0, 0] = np.nextafter(np.float32(1), np.float32(2))
    with pytest.raises(InputError, match=r"outside \[0, 1\]: values from .* to 1.0000001"):
        make_attack("fgsm").perturb(small_mlp().fit(X, Y), x, Y, task=TASK)


@pytest.mark.parametrize("text", ["10.", "+10", "1e1", "10.0", "20/2"])
def test_whole_numbers_are_written_as_other_numbers_are(text: str) -> None:
    assert coerce(text, int, "n") == coerce(text, int | None, "n") == 10
    assert coerce(f"{text}-3", tuple[int, ...], "widths") == (10, 3)
    assert make_attack(f"pgd[steps={text}]") == PGD(steps=10)


def test_a_long_whole_number_is_not_rounded() -> None:
    assert coerce("9007199254740993", int, "n") == 9007199254740993


@pytest.mark.parametrize("given", [None, 3, b"pgd", ["pgd"], PGD(), Path("pgd")])
def test_what_is_no_spec(given: Any) -> None:
    for make in (make_attack, make_defense, registry.make_model):
        with pytest.raises(InputError, match=r"^a spec is a text such as "):
            make(given)
