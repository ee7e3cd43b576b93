"""Intervals and tests over several runs against what a simulation covers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastadv.metrics import mcnemar_exact, wilson_interval
from fastadv.runs import Answers, Runs

DRAWS = 5000
N = 10_000  # test images, of all runs together
EXPECTED = 0.9
SPREADS = (0.0, 0.002, 0.01, 0.03)  # the standard deviation between trainings


def trainings(rng: np.random.Generator, n_runs: int, spread: float, skewed: bool) -> np.ndarray:
    """Accuracies of trainings around EXPECTED, normal or gamma with skewness 1."""
    size = (DRAWS, n_runs)
    errors = (rng.gamma(4.0, size=size) - 4.0) / 2.0 if skewed else rng.standard_normal(size)
    return np.clip(EXPECTED + spread * errors, 0.0, 1.0)


def on_shared_images(rng: np.random.Generator, accuracies: np.ndarray, alike: float) -> Runs:
    """Every run answers the same images: a share of them ``alike``, by how hard an image is.

    The better run then gets every image right that the worse one does; the others go either way.
    """
    draws, n_runs = accuracies.shape
    n_alike = round(alike * N)
    better = -np.sort(-accuracies, axis=1)
    edges = np.concatenate([np.ones((draws, 1)), better, np.zeros((draws, 1))], axis=1)
    # Of so many images, how many are answered right by 0, 1, ..., R of the runs.
    counts = rng.multinomial(n_alike, edges[:, :-1] - edges[:, 1:])
    right = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:]
    others = np.zeros_like(counts)
    others[:, 0] = N - n_alike
    for run in range(n_runs):
        more = rng.binomial(others, better[:, run : run + 1])
        right[:, run] += more.sum(axis=1)
        others -= more
        others[:, 1:] += more[:, :-1]
    means, share = right / N, np.arange(n_runs + 1) / n_runs
    return Runs.from_moments(means, N, means.mean(axis=1), (counts + others) @ share**2 / N)


def on_own_images(rng: np.random.Generator, accuracies: np.ndarray) -> Runs:
    """The images are dealt out among the runs."""
    n_runs = accuracies.shape[1]
    n = N // n_runs
    means = rng.binomial(n, accuracies) / n
    own = np.mean(means * (1 - means), axis=1) / n
    return Runs(means, own / n_runs, own, n * n_runs)


def simulated(layout: str, n_runs: int, spread: float, skewed: bool) -> Runs:
    rng = np.random.default_rng([n_runs, round(1000 * spread), skewed])
    accuracies = trainings(rng, n_runs, spread, skewed)
    if layout == "dealt out":
        return on_own_images(rng, accuracies)
    alike = {"alike": 1.0, "partly alike": 0.8, "independent": 0.0}
    return on_shared_images(rng, accuracies, alike[layout])


@pytest.mark.parametrize("layout", ["alike", "partly alike", "independent", "dealt out"])
@pytest.mark.parametrize("n_runs", [3, 5, 10])
def test_the_interval_covers_the_expected_accuracy(layout: str, n_runs: int) -> None:
    for spread, skewed in itertools.product(SPREADS, (False, True)):
        runs = simulated(layout, n_runs, spread, skewed)
        low, high = runs.interval()
        covered = np.mean((low <= EXPECTED) & (high >= EXPECTED))
        assert covered >= (0.90 if skewed else 0.93), (spread, skewed)
        assert covered <= 0.98 or spread == 0.0, (spread, skewed)


def test_images_alone_cover_a_third_where_trainings_differ() -> None:
    """What was printed before: Wilson's interval of the mean, each image counted once."""
    for n_runs, spread, most in ((3, 0.01, 0.7), (5, 0.03, 0.4)):
        means = simulated("alike", n_runs, spread, False).mean
        low, high = np.array([wilson_interval(mean * N, N) for mean in means[:2000]]).T
        assert np.mean((low <= EXPECTED) & (high >= EXPECTED)) < most


@pytest.mark.parametrize("layout", ["alike", "partly alike", "independent", "dealt out"])
def test_it_is_never_narrower_than_images_alone(layout: str) -> None:
    runs = simulated(layout, 3, 0.002, False)
    low, high = runs.interval()
    images = Runs(runs.mean[:, None].repeat(2, axis=1), runs.images, runs.own, N)
    narrow = images.interval()  # of trainings that do not differ at all
    assert np.all(low <= narrow[0])
    assert np.all(high >= narrow[1])


@pytest.mark.parametrize("n_runs", [3, 5, 10])
@pytest.mark.parametrize("alike", [True, False])
def test_false_alarms_are_as_rare_as_their_level_says(n_runs: int, alike: bool) -> None:
    """Two kinds of training of the same expected accuracy, paired by runs, on the same images."""
    for spread in (0.0, 0.005, 0.02):
        rng = np.random.default_rng([n_runs, round(1000 * spread)])
        size, n = (DRAWS // 10, n_runs), 400
        accuracies = EXPECTED + spread * rng.standard_normal((2, *size))
        hard = rng.random((size[0], 1, n) if alike else (2, *size, n))
        first, second = (hard if alike else hard[0]), (hard if alike else hard[1])
        before, after = first < accuracies[0, ..., None], second < accuracies[1, ..., None]
        difference = after.astype(float) - before
        squares, of_images = np.mean(difference**2, axis=(1, 2)), difference.mean(axis=1)
        runs = Runs.from_moments(difference.mean(axis=2), n, squares, np.mean(of_images**2, axis=1))
        assert np.mean(runs.p_value() <= 0.05) <= 0.08, spread


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random((5, 2000)) < 0.9, rng.random((5, 2000)) < 0.8
    assert Runs.on_shared_images(after * 1.0 - before).p_value() < 1e-3
    assert Runs.on_shared_images(before * 1.0 - before).p_value() == 1.0


def test_without_variance_between_runs_it_is_mcnemars_test() -> None:
    """On two runs with the same answers, and many images."""
    rng = np.random.default_rng(0)
    before, after = rng.random(4000) < 0.9, rng.random(4000) < 0.885
    lost, won = int(np.sum(before & ~after)), int(np.sum(after & ~before))
    p = Runs.on_shared_images(np.tile(after * 1.0 - before, (2, 1))).p_value()
    assert p == pytest.approx(mcnemar_exact(lost, won), rel=0.15)


def test_the_variances_are_those_of_a_two_way_layout() -> None:
    """Against the mean squares of the analysis of variance, written out."""
    values = np.random.default_rng(3).random((4, 30)) < 0.8
    n_runs, n = values.shape
    runs = Runs.on_shared_images(values)
    of_runs, of_images = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_runs[:, None] - of_images + values.mean()
    assert runs.images == pytest.approx(of_images.var(ddof=1) / n)
    assert runs.own == pytest.approx(np.sum(rest**2) / ((n_runs - 1) * (n - 1)) / n)
    assert runs.mean == pytest.approx(values.mean())
    part = (n_runs - 1) / (n_runs + 1)
    between = max(0.0, of_runs.var(ddof=1) - part * runs.own) / n_runs
    assert runs.between == pytest.approx(between)


@given(st.integers(0, 40), st.integers(1, 40))
def test_answers_that_are_all_alike_have_wilsons_interval(right: int, wrong: int) -> None:
    answers = np.repeat([True, False], [right, wrong])
    low, high = Runs.on_shared_images([answers, answers, answers]).interval()
    n = right + wrong
    # The sample variance over images divides by n - 1.
    expected = wilson_interval(right * (n - 1) / n, n - 1) if right else wilson_interval(0, n)
    assert (low, high) == pytest.approx(expected, abs=1e-9)


def test_runs_on_images_of_their_own() -> None:
    parts = [np.arange(n) < right for n, right in ((100, 90), (100, 94), (101, 92))]
    runs = Runs.on_own_images(parts)
    assert runs.means.tolist() == [0.9, 0.94, 92 / 101]
    assert runs.n_images == 301
    p = runs.means
    assert runs.own == pytest.approx(np.mean(p * (1 - p) / [100, 100, 101]))
    assert runs.images == pytest.approx(runs.own / 3)


def test_images_that_are_shared_in_part_weigh_as_if_all_were() -> None:
    rng = np.random.default_rng(0)
    ids, right = np.arange(100), rng.random((3, 100)) < 0.8
    some = Runs.on_images([ids, ids + 50, ids + 100], list(right))
    assert some.images == pytest.approx(np.mean(right.var(axis=1)) / 100)
    assert some.own == 0
    assert Runs.on_images([ids] * 3, list(right)).images < some.images
    assert Runs.on_images([ids, ids + 100, ids + 200], list(right)).n_images == 300


def test_accuracies_alone_count_images_as_if_all_runs_answered_alike() -> None:
    low, high = Runs.of_accuracies([0.9, 0.9], 100).interval()
    assert (low, high) == pytest.approx(wilson_interval(90, 100))
    wider = Runs.of_accuracies([0.89, 0.91], 100).interval()
    assert wider[0] < low
    assert wider[1] > high


def test_images_that_differ_in_how_many_trainings_get_them_right() -> None:
    """The share of trainings is beta distributed over images; trainings are alike in the mean."""
    rng = np.random.default_rng(0)
    image = rng.beta(0.5, 0.3, 100_000)
    covered = 0
    for _ in range(400):
        right = rng.random((5, 300)) < rng.choice(image, 300)
        low, high = Runs.on_shared_images(right).interval()
        covered += low <= image.mean() <= high
    assert covered >= 0.93 * 400


# -- two sets of runs, image by image -------------------------------------------------------


def answered(
    rng: np.random.Generator, n_runs: int, expected: float, spread: float, hard: np.ndarray,
    dealt: bool, first: int = 0,
) -> Answers:  # fmt: skip
    """Answers of trainings whose accuracy scatters around ``expected``.

    Every second image is right by how hard it is, in each training; of the others each training
    has its own idea. The runs share all images, or these are dealt out among them.
    """
    parts, n = [], len(hard)
    for k in range(n_runs):
        ids = np.arange(k, n, n_runs) if dealt else np.arange(n)
        accuracy = expected + spread * rng.standard_normal()
        draw = np.where(np.arange(n) // 10 % 2, hard, rng.random(n))[ids]
        parts.append((np.full(len(ids), first + k), ids, (draw < accuracy).astype(float)))
    run, image, value = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Answers(run, image, value)


@pytest.mark.parametrize("dealt", [True, False])
@pytest.mark.parametrize(("n_runs", "first"), [((5, 5), 0), ((5, 3), 0), ((5, 5), 5)])
def test_differences_are_covered_and_false_alarms_rare_paired_or_not(
    n_runs: tuple[int, int], first: int, dealt: bool
) -> None:
    """Five runs beside three, or of other seeds, are unpaired: only images are."""
    draws = 200
    for spread in (0.01, 0.04):
        rng = np.random.default_rng([*n_runs, first, round(1000 * spread)])
        covered = alarms = 0
        for _ in range(draws):
            hard = rng.random(600)
            a = answered(rng, n_runs[0], 0.8, spread, hard, dealt)
            b, same = (answered(rng, n_runs[1], p, spread, hard, dealt, first) for p in (0.7, 0.8))
            low, high = b.minus(a).interval()
            covered += bool(low <= -0.1 <= high)
            alarms += bool(same.minus(a).p_value() <= 0.05)
        assert covered >= 0.92 * draws, spread
        assert alarms <= 0.08 * draws, spread


def test_unpaired_runs_have_the_variances_of_both_sides_and_the_fewer_degrees_of_freedom() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300)
    a, b = (answered(rng, n, 0.8, 0.05, hard, False) for n in (5, 3))
    found = b.minus(a)
    assert found.mean == pytest.approx(b.mean() - a.mean())
    assert found.between == pytest.approx(a.runs().between + b.runs().between)
    of_images = b.value.reshape(3, 300).mean(axis=0) - a.value.reshape(5, 300).mean(axis=0)
    assert found.images == pytest.approx(of_images.var(ddof=1) / 300)
    assert (found.df, found.n_images) == (2, 300)
    paired = a.minus(a)
    assert (paired.mean, paired.df, paired.p_value()) == (0, 4, 1)


def test_only_the_images_that_both_have_are_compared() -> None:
    rng = np.random.default_rng(0)
    a = answered(rng, 5, 0.8, 0.0, rng.random(300), True)
    far = Answers(a.run, a.image + 200, 1 - a.value)
    found = far.minus(a)
    shared = np.sort(a.image)[200:]
    of_a, of_far = (one.of_images(np.sort(one.image)) for one in (a, far))
    assert found.n_images == len(shared) == 100
    assert found.mean == pytest.approx(np.mean(of_far[:100] - of_a[200:]))
    with pytest.raises(ValueError, match="no image in common"):
        Answers(a.run, a.image + 300, a.value).minus(a)


def test_a_difference_of_one_run_is_of_that_training_alone() -> None:
    """It is McNemar's test then, of many images."""
    rng = np.random.default_rng(0)
    run, image = np.zeros(4000, np.int64), np.arange(4000)
    before, after = rng.random(4000) < 0.9, rng.random(4000) < 0.885
    found = Answers(run, image, after * 1.0).minus(Answers(run, image, before * 1.0))
    assert (found.df, found.between) == (0, 0)
    lost, won = int(np.sum(before & ~after)), int(np.sum(after & ~before))
    assert found.p_value() == pytest.approx(mcnemar_exact(lost, won), rel=0.15)
    low, high = found.interval()
    assert (low, high) == pytest.approx(found.mean + np.array([-1, 1]) * 1.96 * np.sqrt(
        np.var(after * 1.0 - before) / 4000 + 1 / 4000**2), abs=1e-6)  # fmt: skip


def test_the_mean_of_runs_weighs_each_run_alike() -> None:
    answers = Answers(np.array([0, 0, 0, 4]), np.arange(4), np.array([1.0, 1.0, 0.0, 0.0]))
    assert answers.mean() == pytest.approx((2 / 3 + 0) / 2)
    assert (answers.n_runs, answers.n_images) == (2, 4)
    assert answers.runs().means.tolist() == pytest.approx([2 / 3, 0])
