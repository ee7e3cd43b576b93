"""Rotations and translations, searched without gradients."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp
from twins import affine as twin

from fastadv import MLPClassifier, make_attack
from fastadv.errors import InputError
from fastadv.kernels.images import affine

pytestmark = pytest.mark.uncompiled

X, Y = blobs()


@pytest.fixture(scope="module")
def model() -> MLPClassifier:
    return small_mlp(6).fit(X, Y)


@pytest.mark.parametrize("shape", [(5, 7, 1), (6, 4, 3), (1, 5, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("black", [0.0, -0.5])
def test_moves_equal_their_twin(shape: tuple[int, int, int], dtype: type, black: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((6, int(np.prod(shape)))).astype(dtype)
    moves = rng.uniform(-1, 1, (6, 3)) * [180, 2, 2]
    moves[0] = 0
    out, expected = np.empty_like(x), np.empty(x.shape)
    affine.rotate_translate(x, *shape, black, moves, out)
    twin.rotate_translate(x.astype(float), *shape, black, moves, expected)
    np.testing.assert_allclose(out, expected, atol=1e-6 if dtype is np.float32 else 1e-12)
    np.testing.assert_array_equal(out[0], x[0])
    assert out.min() >= black
    assert out.max() <= 1 + 1e-12


def test_which_way_it_turns_and_shifts() -> None:
    image = np.zeros((1, 9))
    image[0, 5] = 1.0  # to the right of the middle
    out = np.empty_like(image)
    affine.rotate_translate(image, 3, 3, 1, 0.0, np.array([[90.0, 0.0, 0.0]]), out)
    assert out[0, 1] == pytest.approx(1.0)  # now above it
    affine.rotate_translate(image, 3, 3, 1, 0.0, np.array([[0.0, 1.0, -1.0]]), out)
    assert out[0, 7] == pytest.approx(1.0)


def test_the_details_give_the_image(model: MLPClassifier) -> None:
    for text in ("spatial[rotation=90,translation=2]", "spatial[method=random,translation=2]"):
        result = make_attack(text).perturb(model, X, Y, task=TASK)
        won = result.success
        assert won.any()
        out = np.empty_like(X[won])
        affine.rotate_translate(X[won], 5, 4, 1, 0.0, result.details["move"][won], out)
        np.testing.assert_array_equal(out, result.x_adv[won])
        assert result.distances["rotation"].max() <= 90
        assert result.distances["translation"].max() <= 2
        assert result.queries["backward"] == 0


def test_the_grid_holds_the_papers_775_and_finds_no_less_than_a_smaller_range(
    model: MLPClassifier,
) -> None:
    still = make_attack("spatial[rotation=0,translation=0]").perturb(model, X, Y, task=TASK)
    assert not still.success.any()
    right = np.mean(model.predict(X) == Y)
    assert still.queries["forward"] == pytest.approx(775 * right + (1 - right))


def test_labels_and_scores_are_all_it_needs(model: MLPClassifier) -> None:
    class Scores:
        classes_ = np.arange(3)

        def logits(self, x: np.ndarray) -> np.ndarray:
            return model.vjp(x)[0]

    text = "spatial[method=random]"
    found = make_attack(text).perturb(Scores(), X, Y, task=TASK)
    expected = make_attack(text).perturb(model, X, Y, task=TASK)
    np.testing.assert_array_equal(found.x_adv, expected.x_adv)
    assert str(make_attack(text).threat()) == "rotation_translation(30,3)"


@pytest.mark.parametrize(
    "text",
    [
        "spatial[rotation=-1]",
        "spatial[rotation=200]",
        "spatial[translation=-1]",
        "spatial[samples=0]",
    ],
)
def test_wrong_parameters_are_one_line(text: str) -> None:
    with pytest.raises(InputError, match="has to be"):
        make_attack(text)
