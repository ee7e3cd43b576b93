"""DPA and bagging: their kernels, their certificates against every insertion, their place in a grid."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from helpers import SMALL_MLP, TASK, blobs, write_npz
from twins import votes as twins

from fastadv import make_attack, make_defense, run_grid, threat
from fastadv.defenses.training.bagging import Bagging, insertions
from fastadv.defenses.training.dpa import DPA, plurality
from fastadv.errors import InputError
from fastadv.kernels.network import votes as kernels
from fastadv.models.voting import VotingModel, fit_voters
from fastadv.task import Task
from fastadv.threads import set_threads

pytestmark = pytest.mark.uncompiled

X, Y = blobs(60)
X_TEST, Y_TEST = blobs(45, seed=1)
TINY = Task(image_shape=(1, 2, 1), n_classes=3)


def test_training_by_products_of_images_is_training() -> None:
    x = X.astype(np.float64)
    A, Z, P = (np.empty((60, 3)) for _ in range(3))
    kernels.fit_softmax(x @ x.T / 60, Y, 40, 0.7, A, Z, P)
    np.testing.assert_allclose(x.T @ A / 60, twins.fit_softmax(x, Y, 3, 40, 0.7), atol=1e-10)


def test_votes_are_counted_as_the_twin_does() -> None:
    logits = np.random.default_rng(0).integers(0, 3, (7, 4 * 5)).astype(np.float32)  # many ties
    votes = np.zeros((7, 4), dtype=np.int64)
    kernels.count_votes(logits, votes)
    np.testing.assert_array_equal(votes, twins.count_votes(logits, 4))
    assert votes.sum() == 35


def test_votes_nearby_are_the_votes_anew() -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(64, 3 * 40)).astype(np.float32)
    model = VotingModel(weights, np.arange(3), 100)
    points = rng.random((80, 64), dtype=np.float32)
    near = model.nearby(points)
    for changed in (1, 2, 40, 3, 64, 1):  # some so many that they are computed anew
        rows = rng.permutation(80)[:50]
        X = points[rows]
        for image in X:
            image[rng.permutation(64)[:changed]] = rng.random(changed)
        for _ in range(2):  # what is asked changes nothing
            np.testing.assert_array_equal(near.logits(rows, X), model.logits(X))
        kept = rng.random(50) < 0.5
        near.move(rows[kept], X[kept])
        points[rows[kept]] = X[kept]
        np.testing.assert_array_equal(near.logits(np.arange(80), points), model.logits(points))


def test_votes_nearby_of_black_pixels_turned_white_are_the_votes_anew() -> None:
    rng = np.random.default_rng(2)
    model = VotingModel(rng.normal(size=(64, 3 * 40)).astype(np.float32), np.arange(3), 100)
    points = rng.integers(0, 2, (30, 64)).astype(np.float32)
    X, near = points.copy(), model.nearby(points)
    X[:, ::17] = 1 - X[:, ::17]
    np.testing.assert_array_equal(near.logits(np.arange(30), X), model.logits(X))
    assert (model.logits(X) != model.logits(points)).any(axis=1).all()


def test_square_finds_as_much_near_votes_as_anew() -> None:
    model = DPA(partitions=9, blur=0.0).fit(None, X, Y, task=TASK, seed=0)

    class Plain:
        classes_, logits = model.classes_, model.logits

    attack = make_attack("square[eps=0.3,queries=60]")
    ours, anew = (attack.perturb(m, X_TEST, Y_TEST, task=TASK) for m in (model, Plain()))
    assert ours.success.any()
    np.testing.assert_array_equal(ours.x_adv, anew.x_adv)
    assert ours.queries == anew.queries


def test_a_voter_is_softmax_regression_on_its_own_rows() -> None:
    parts = [np.arange(0, 60, 2), np.arange(1, 60, 2), np.empty(0, np.int64)]
    model = fit_voters(X, Y, parts, np.arange(3), lambda images: images)
    for number, rows in enumerate(parts[:2]):
        x = X[rows].astype(float) / np.linalg.norm(X[rows].astype(float), axis=1, keepdims=True)
        W = twins.fit_softmax(x, Y[rows], 3, 200, 30.0)
        np.testing.assert_allclose(model.weights.reshape(-1, 3, 3)[:, :, number], W, atol=1e-5)
    assert (model.votes(X_TEST).sum(axis=1) == 3).all()
    assert (model.votes(X_TEST)[:, 0] >= 1).all()  # the one without rows


def test_blurring_the_weights_is_blurring_the_images() -> None:
    for text in ("dpa[partitions=4,blur=0.8]", "bagging[models=4,images=9,blur=0.8]"):
        defense = make_defense(text)
        model = defense.fit(None, X, Y, task=TASK, seed=0)
        from fastadv.defenses.training.voters import blurring

        blur = blurring(0.8, TASK)
        rng = np.random.default_rng(3)
        a, b = rng.random((2, 1, TASK.n_features)).astype(np.float32)
        np.testing.assert_allclose(blur(a) @ b.T, a @ blur(b).T, rtol=1e-5)
        assert (model.predict(X_TEST) == Y_TEST).mean() > 0.8


@pytest.mark.parametrize("n_votes", [1, 2, 5, 6])
def test_the_radius_is_the_largest_that_no_changed_votes_break(n_votes: int) -> None:
    every = [v for v in itertools.product(range(n_votes + 1), repeat=3) if sum(v) == n_votes]
    votes = np.array(every, dtype=np.int64)
    winner, radius = plurality(votes)
    for v, label, r in zip(votes, winner, radius, strict=True):
        # r voters change their mind: half of the distance between the counts
        changed = np.abs(votes - v).sum(axis=1) // 2
        broken = changed[votes.argmax(axis=1) != label]
        assert r == (broken.min() - 1 if len(broken) else n_votes // 2)


@pytest.mark.compiled
def test_dpa_withstands_every_insertion_removal_and_relabelling() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.9]])
    y = np.arange(20) % 3
    x = np.clip(centres[y] + rng.normal(0, 0.05, (20, 2)), 0, 1).astype(np.float32)
    test = rng.random((150, 2)).astype(np.float32)
    defense = DPA(partitions=5, blur=0)

    def labels(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return defense.fit(None, x, y, task=TINY, seed=0).predict(test)

    model = defense.fit(None, x, y, task=TINY, seed=0)
    certificate = defense.certify(model, test, task=TINY, seed=0)
    np.testing.assert_array_equal(certificate.label, labels(x, y))
    assert set(certificate.radius) >= {0.0, 1.0, 2.0}
    images = rng.random((9, 2)).astype(np.float32)
    added = [(image, label) for image in images for label in range(3)]
    for r in (1, 2):
        firm = certificate.radius >= r
        broke = np.zeros(len(test), dtype=bool)
        for some in itertools.combinations(added, r):
            new = labels(
                np.concatenate([x, [image for image, _ in some]]).astype(np.float32),
                np.concatenate([y, [label for _, label in some]]),
            )
            broke |= new != certificate.label
        assert not (broke & firm).any()
        assert broke.any()  # the others can be broken
    for row in range(20):
        others = np.arange(20) != row
        firm = certificate.radius >= 1
        assert (labels(x[others], y[others]) == certificate.label)[firm].all()
        for label in range(3):
            changed = np.where(np.arange(20) == row, label, y)
            assert (labels(x, changed) == certificate.label)[firm].all()


def test_the_order_of_the_rows_does_not_matter_to_dpa() -> None:
    defense = DPA(partitions=6)
    order = np.random.default_rng(4).permutation(60)
    weights = [
        defense.fit(None, X[rows], Y[rows], task=TASK, seed=seed).weights.tobytes()
        for seed, rows in enumerate((np.arange(60), order))
    ]
    assert weights[0] == weights[1]


def test_an_image_changes_the_part_that_it_falls_into_alone() -> None:
    defense = DPA(partitions=6)
    before = defense.fit(None, X, Y, task=TASK, seed=0).weights.reshape(-1, 3, 6)
    new = np.concatenate([X, X_TEST[:1]]), np.concatenate([Y, Y_TEST[:1]])
    after = defense.fit(None, *new, task=TASK, seed=0).weights.reshape(-1, 3, 6)
    assert (before != after).any(axis=(0, 1)).sum() == 1


@pytest.mark.parametrize("added", [1, 2])
def test_bagging_withstands_every_insertion_into_a_tiny_set(added: int) -> None:
    """With the probabilities over all n^k bags, and classifiers that answer anything at all."""
    n, k, rng = 7, 2, np.random.default_rng(added)
    firm = 0
    for _ in range(300):
        answers = rng.choice(3, p=rng.dirichlet([0.3, 0.3, 0.3]), size=(n + added,) * k)
        clean = np.bincount(answers[:n, :n].ravel(), minlength=3) / n**k
        label = clean.argmax()
        gap = clean[label] - np.delete(clean, label).max()
        if insertions(np.array([gap]), n, k)[0] < added:
            continue
        firm += 1
        answers[n:], answers[:, n:] = 0, 0
        for against in np.delete(np.arange(3), label):  # every bag with a new image, against it
            worst = answers.copy()
            worst[n:], worst[:, n:] = against, against
            assert np.bincount(worst.ravel(), minlength=3).argmax() == label
    assert firm >= 20


def test_bagging_certifies_no_more_than_it_can() -> None:
    n, k = 1000, 10
    gaps = np.array([-0.2, 0.0, 0.3, 1.0])
    radius = insertions(gaps, n, k)
    assert radius.tolist()[:2] == [0, 0]
    for gap, r in zip(gaps[2:], radius[2:], strict=True):
        assert (1 + r / n) ** k < 1 + gap <= (1 + (r + 1) / n) ** k


def test_baggings_bounds_hold_with_their_confidence() -> None:
    p, defense = np.array([0.5, 0.3, 0.2]), Bagging(models=200, alpha=0.1)
    votes = np.random.default_rng(0).multinomial(200, p, size=4000).astype(np.int64)
    label, gap = defense._gap(votes)
    wrong = (gap > 0.2) | ((label != 0) & (gap > 0))
    assert 0 < wrong.mean() < 0.1
    certain = defense.certify(
        VotingModel(np.ones((20, 600), np.float32), np.arange(3), 1000), np.ones((2, 20), np.float32), task=TASK, seed=0
    )  # fmt: skip
    assert certain.label.tolist() == [0, 0]
    split = np.zeros((20, 600), np.float32)
    split[:, 200:300] = 1.0  # half for 1, half (tied logits) for 0
    abstained = defense.certify(
        VotingModel(split, np.arange(3), 1000), np.ones((2, 20), np.float32), task=TASK, seed=0
    )
    assert abstained.label.tolist() == [-1, -1]
    assert abstained.radius.tolist() == [0, 0]


@pytest.mark.parametrize("text", ["dpa[partitions=7]", "bagging[models=9,images=8]"])
def test_same_bytes_for_any_threads_and_any_batch(text: str) -> None:
    found = []
    for n in (1, 2):
        set_threads(n)
        model = make_defense(text).fit(None, X, Y, task=TASK, seed=3)
        found.append((model.weights.tobytes(), model.votes(X_TEST).tobytes()))
    assert found[0] == found[1]
    np.testing.assert_array_equal(model.votes(X_TEST[5:6])[0], model.votes(X_TEST)[5])
    assert model.votes(X_TEST[:0]).shape == (0, 3)


def test_a_saved_vote_is_the_same_vote(tmp_path: Path) -> None:
    model = DPA(partitions=5).fit(None, X, Y, task=TASK, seed=0)
    model.save(tmp_path / "v.npz")
    again = VotingModel.load(tmp_path / "v.npz")
    np.testing.assert_array_equal(again.votes(X_TEST), model.votes(X_TEST))
    assert again.n_train == 60
    for content, message in ((b"no", "not a saved"), (None, "no file")):
        path = tmp_path / "other.npz"
        path.unlink(missing_ok=True)
        if content:
            path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            VotingModel.load(path)
    with pytest.raises(InputError, match="shape"):
        model.votes(X_TEST[:, 1:])
    with pytest.raises(InputError, match="needs the model's input gradient"):
        make_attack("fgsm").perturb(model, X_TEST, Y_TEST, task=TASK)
    np.testing.assert_array_equal(model.logits(X_TEST), model.votes(X_TEST).astype(np.float32) / 5)


def test_in_a_grid_gradients_are_refused_and_the_rest_runs(tmp_path: Path) -> None:
    rows = run_grid(
        repeats=1, attacks=["fgsm", "noise", "square[queries=10]", "label_flip[points=6]"], samples=20,
        defenses=["dpa[partitions=8,blur=0]", "bagging[models=12,images=9,blur=0]"],
        dataset=write_npz(tmp_path / "d.npz"), model=SMALL_MLP,
    )  # fmt: skip
    assert [row.status for row in rows] == ["ok", "ok", "skipped", "skipped"] + ["ok"] * 6
    assert "dpa counts votes, and a count has no gradient" in (rows[2].reason or "")
    assert rows[0].clean_accuracy is not None
    assert rows[0].clean_accuracy.value > 0.8
    threats = [None if row.certified is None else str(row.certified.threat) for row in rows]
    assert threats == ["points(270)"] * 2 + [None] * 6 + ["points(6)"] * 2


def test_a_share_of_poison_is_certified_as_its_number(tmp_path: Path) -> None:
    rows = run_grid(
        repeats=1, attacks=["label_flip[fraction=0.04]"], defenses=["dpa[partitions=8,blur=0]"], samples=20,
        dataset=write_npz(tmp_path / "d.npz"), model=SMALL_MLP,
    )  # fmt: skip
    certified = rows[1].certified
    assert certified is not None
    assert rows[1].poison is not None
    assert certified.threat == threat.poison(0.04, int(rows[1].poison["points"]))
    assert rows[1].clean_accuracy is not None
    assert 0 < certified.accuracy.value <= rows[1].clean_accuracy.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dpa[partitions=0]", "partitions has to be"), ("dpa[blur=-1]", "blur has to be"), ("bagging[blur=1e6]", "blur has to be from 0 to 1,000 pixels"),
        ("bagging[models=0]", "models has to be"), ("bagging[images=0]", "images has to be"),
        ("bagging[alpha=1]", "alpha has to be"),
    ],
)  # fmt: skip
def test_bad_parameters_are_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_defense(text)
