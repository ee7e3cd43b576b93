"""A module of PyTorch as an estimator: the same each time, in grids, and kept as plain arrays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, write_npz
from sklearn.base import clone

from fastadv import InputError, capabilities, make_defense, run_grid, wrap
from fastadv.errors import DivergenceError
from fastadv.models.cnn import ConvNet
from fastadv.models.module_classifier import TorchClassifier
from fastadv.protocols import BatchTrainable, Features, LossTrainable, Model, Persistent
from fastadv.threads import set_threads

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

X, Y = blobs(90)


class Net(nn.Module):  # type: ignore[misc,name-defined]
    """Convolution, batch normalisation, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.2)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.norm(self.conv(x)))
        return self.head(self.drop(x).flatten(1))


def dense() -> Any:
    return nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 3))


def estimator(factory: Any = Net, **changes: Any) -> TorchClassifier:
    given = {"epochs": 8, "lr": 0.01, "batch_size": 16, "image_shape": (5, 4)}
    return TorchClassifier(factory, **{**given, **changes})


def convnet(**changes: Any) -> ConvNet:
    given = {"channels": (6, 8), "hidden": 16, "epochs": 12, "batch_size": 10}
    return ConvNet(**{**given, **changes}, image_shape=(5, 4, 1))


def weights(model: Any) -> np.ndarray:
    return np.concatenate([p.numpy().ravel() for p in model.module_.parameters()])


@pytest.mark.parametrize("make", [estimator, convnet])
def test_it_learns_as_estimators_do(make: Any) -> None:
    model, names = make(), np.array(["a", "b", "c"])[Y]
    for protocol in (Model, BatchTrainable, LossTrainable, Persistent):
        assert capabilities.able(model.fit(X, names), protocol)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.score(X, names) > 0.95
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(X))
    assert len(model.loss_curve_) == model.epochs
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 2
    again = clone(model)
    assert not hasattr(again, "module_")
    assert again.get_params() == model.get_params()
    assert not model.module_.training
    assert not any(p.requires_grad or p.grad is not None for p in model.module_.parameters())


@pytest.mark.parametrize("make", [estimator, convnet])
def test_the_same_seed_gives_the_same_weights_in_any_threads(make: Any) -> None:
    drawn, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first = make().fit(X, Y)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert torch.get_num_threads() == threads
    torch.manual_seed(5)
    torch.set_num_threads(1)
    set_threads(1)
    try:
        alone = make().fit(X, Y)
        np.testing.assert_array_equal(weights(alone), weights(first))
        np.testing.assert_array_equal(alone.logits(X), first.logits(X))
    finally:
        torch.set_num_threads(threads)
    assert not np.array_equal(weights(make(random_state=1).fit(X, Y)), weights(first))


def difference(model: Any, X: Any, dlogits: Any, way: Any) -> float:
    up, down = model.logits(X + way).astype(np.float64), model.logits(X - way).astype(np.float64)
    return float(np.vdot(up - down, dlogits) / 2)


@pytest.mark.parametrize(
    "told",
    [
        {}, {"mean": 0.4, "std": 0.5}, {"factory": dense}, {"factory": dense, "image_shape": None},
        {"factory": lambda: nn.Sequential(nn.Flatten(), dense()), "layout": "channels_last"},
    ],
)  # fmt: skip
def test_the_gradient_is_that_of_the_logits(told: dict[str, Any]) -> None:
    model = estimator(**told).fit(X, Y)
    logits, pullback = model.vjp(X)
    np.testing.assert_array_equal(logits, model.logits(X))
    dlogits = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    gradient = pullback(dlogits)
    way = 2e-3 * np.sign(gradient)
    assert np.vdot(gradient, way) == pytest.approx(difference(model, X, dlogits, way), rel=0.02)


def test_the_gradient_of_the_parameters() -> None:
    model = estimator(dense).fit(X, Y)
    model.module_.requires_grad_(True)
    logits, pullback = model.parameter_vjp(X)
    dlogits = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    slope, twice = pullback(dlogits), pullback(2 * dlogits)
    np.testing.assert_allclose(twice, 2 * slope, rtol=1e-5, atol=1e-6)
    way, sides = 1e-3 * np.sign(slope), []
    for sign in (1, -1):
        moved = torch.from_numpy(weights_of(model) + sign * way)
        with torch.no_grad():
            nn.utils.vector_to_parameters(moved, model.module_.parameters())
        sides.append(np.vdot(model.logits(X).astype(np.float64), dlogits))
        with torch.no_grad():
            nn.utils.vector_to_parameters(
                moved - sign * torch.from_numpy(way), model.module_.parameters()
            )
    assert np.vdot(slope, way) == pytest.approx((sides[0] - sides[1]) / 2, rel=0.02)


def weights_of(model: Any) -> Any:
    flat = nn.utils.parameters_to_vector(model.module_.parameters())
    return flat.detach().numpy().copy()


def by_formula(
    optimizer: str, W: np.ndarray, lr: float, decay: float, steps: int
) -> tuple[np.ndarray, list[float]]:
    """A linear model (21, 3) after steps on all images at once, and the losses before each.

    The bias is its last row.

    sgd: the heavy ball of momentum 0.9. adam: Kingma and Ba, ICLR 2015, algorithm 1.
    """
    rows, true = np.hstack([X, np.ones((len(X), 1))]), np.eye(3)[Y]
    first = second = np.zeros_like(W)
    losses = []
    for t in range(1, steps + 1):
        p = np.exp(rows @ W)
        p /= p.sum(axis=1, keepdims=True)
        losses.append(-np.log((p * true).sum(axis=1)).mean())
        slope = rows.T @ (p - true) / len(X) + decay * W
        rate = lr * min(1.0, (1 - (t - 1) / steps) / 0.3)
        if optimizer == "sgd":
            first = 0.9 * first + slope
            W = W - rate * first
        else:
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            spread = np.sqrt(second / (1 - 0.999**t)) + 1e-8
            W = W - rate * first / (1 - 0.9**t) / spread
    return W, losses


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.5), ("adam", 0.05)])
def test_the_steps_are_those_of_the_formula(optimizer: str, lr: float) -> None:
    begun: list[np.ndarray] = []

    def factory() -> Any:
        module = nn.Linear(20, 3)
        begun.append(np.vstack([module.weight.detach().numpy().T, module.bias.detach().numpy()]))
        return module

    model = estimator(
        factory, optimizer=optimizer, lr=lr, weight_decay=0.03, epochs=10, batch_size=len(X)
    ).fit(X, Y)
    found = np.vstack([model.module_.weight.numpy().T, model.module_.bias.numpy()])
    wanted, losses = by_formula(optimizer, begun[0].astype(np.float64), lr, 0.03, 10)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-5)


def test_training_by_a_given_gradient_is_training() -> None:
    """The cross-entropy's, handed over as a gradient: the same steps, up to rounding."""

    def gradient(model: Any, x: Any, rows: Any, columns: Any, out: Any) -> float:
        logits, pullback = model.parameter_vjp(x)
        z = torch.from_numpy(logits).requires_grad_()
        loss = F.cross_entropy(z, torch.from_numpy(columns), reduction="sum")
        loss.backward()
        out[:] = pullback(z.grad.numpy())
        np.testing.assert_array_equal(x, X[rows])
        return float(loss.detach())

    by_loss, by_gradient = estimator(dense).fit(X, Y), estimator(dense).fit_gradient(X, Y, gradient)
    np.testing.assert_allclose(weights(by_gradient), weights(by_loss), atol=1e-4)
    np.testing.assert_allclose(by_gradient.loss_curve_, by_loss.loss_curve_, rtol=1e-4)


def test_batches_are_attacked_in_evaluation_mode_and_trained_on_in_the_other() -> None:
    modes: list[bool] = []
    seen: list[Any] = []

    class Told(Net):
        def forward(self, x: Any) -> Any:
            modes.append(self.training)
            return super().forward(x)

    def perturb(model: Any, x: Any, rows: Any, _: Any) -> Any:
        model.vjp(x)[1](np.ones((len(x), 3), np.float32))
        model.logits(x)
        seen.append(rows)
        return np.zeros_like(x)

    model = estimator(Told, epochs=2, batch_size=60).fit_perturbed(X, Y, perturb)
    assert modes == [False, *4 * [False, False, True]]  # a look, then attack, judge, train
    np.testing.assert_array_equal(np.sort(np.concatenate(seen[:2])), np.arange(len(X)))
    assert float(model.module_.norm.running_mean.abs().max()) > 0  # of what it was trained on


@pytest.mark.parametrize("make", [estimator, convnet])
def test_it_is_kept_as_plain_arrays(make: Any, tmp_path: Path) -> None:
    model = make().fit(X, np.array(["a", "b", "c"])[Y])
    state = model.state()
    assert not any(array.dtype.hasobject for array in state.values())
    model.save(tmp_path / "m.npz")
    loader = make() if make is estimator else ConvNet
    for again in (loader.from_state(state), loader.load(tmp_path / "m.npz")):
        np.testing.assert_array_equal(again.logits(X), model.logits(X))
        assert again.classes_.tolist() == ["a", "b", "c"]
        assert again.get_params() == model.get_params()
    with pytest.raises(InputError, match="no file"):
        loader.load(tmp_path / "none.npz")


def test_arrays_of_another_architecture_are_refused() -> None:
    state = estimator(dense).fit(X, Y).state()
    with pytest.raises(InputError, match="another architecture"):
        estimator(Net).from_state(state)
    with pytest.raises(InputError, match="weights, expected"):
        ConvNet.from_state(convnet().fit(X, Y).state() | {"weights": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
    ("make", "name", "value", "says"),
    [
        (convnet, "weights", np.full(1073, np.nan, np.float32), "its weights hold NaN or infinity"),
        (convnet, "classes", np.zeros(3, int), "3 classes for 3 columns of logits do not fit"),
        (convnet, "n_features", np.array(np.inf), "its n_features are float64"),
        (convnet, "loss_curve", np.array(1.0), "its loss_curve are float64 in 0 dimensions"),
        (convnet, "parameters", np.array('{"strange": 1}'), "has not all of its parameters"),
        (convnet, "parameters", np.array('{"channels": 3}'), "channels has to be whole numbers"),
        (convnet, "parameters",
         np.array('{"channels": [100000, 100000], "hidden": 16, "image_shape": [5, 4, 1]}'),
         "1073 weights, expected 160003"),
        (estimator, "classes", np.zeros(3, int), "3 classes for 3 columns of logits do not fit"),
        (estimator, "n_features", np.array(np.inf), "its n_features are float64"),
        (estimator, "loss_curve", np.array(1.0), "its loss_curve are float64 in 0 dimensions"),
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_refused_in_a_line(
    make: Any, name: str, value: np.ndarray, says: str
) -> None:
    state = make(epochs=1).fit(X, Y).state()
    with pytest.raises(InputError, match=says):
        make().from_state(state | {name: value})
    with pytest.raises(InputError, match=f"it has no {name}"):
        make().from_state({key: array for key, array in state.items() if key != name})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"epochs": 0}, "epochs has to be at least 1"), ({"lr": 0}, "lr has to be above 0"),
        ({"optimizer": "lbfgs"}, "optimizer has to be sgd or adam, got 'lbfgs'"),
        ({"factory": 3}, "factory has to be a function that returns a module"),
        ({"factory": dict}, "factory has to return a torch.nn.Module, got dict"),
        ({"image_shape": None}, "the module takes images .channels_first.: give image_shape"),
        ({"factory": lambda: nn.Linear(20, 4)}, r"returns \(16, 4\) of 16 images; logits of 3 classes"),
        ({"factory": lambda: nn.Linear(7, 3)}, r"does not take images of shape \(16, 20\)"),
        ({"factory": lambda: nn.Sequential(nn.Linear(20, 3), nn.Softmax(1))}, "leave its last softmax out"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_line(change: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        estimator(**change).fit(X, Y)
    assert "\n" not in str(caught.value)


def test_a_loss_that_grows_without_bound_is_told() -> None:
    with pytest.raises(DivergenceError, match="lower lr"):
        estimator(dense, optimizer="sgd", lr=1e38).fit(X, Y)


def test_a_convolutional_network_needs_images() -> None:
    with pytest.raises(InputError, match="cnn takes images: give image_shape"):
        ConvNet().fit(X, Y)
    with pytest.raises(InputError, match="rows of 9, not 20"):
        ConvNet(image_shape=(3, 3, 1)).fit(X, Y)
    model = convnet().fit(X, Y)
    assert capabilities.able(model, Features)
    np.testing.assert_array_equal(
        np.maximum(model.features(X, activated=False), 0), model.features(X)
    )
    head = model.module_[-1]
    last = model.features(X) @ head.weight.numpy().T + head.bias.numpy()
    np.testing.assert_allclose(last, model.logits(X), atol=1e-5)


@pytest.mark.parametrize("make", [estimator, convnet])
@pytest.mark.parametrize("loss", ["ce", "trades"])
def test_adversarial_training_makes_it_robust(make: Any, loss: str) -> None:
    defense: Any = make_defense(
        f"adv_training[epochs=12,batch_size=30,loss={loss},attack=pgd[eps=0.03,steps=2,keep=last]]"
    )
    assert defense.supports(make(), TASK) is None
    model = make()
    trained = defense.fit(model, X, Y, task=TASK, seed=0)
    assert not hasattr(model, "module_")
    assert trained.epochs == 12
    again = defense.fit(make(), X, Y, task=TASK, seed=0)
    np.testing.assert_array_equal(trained.logits(X), again.logits(X))
    assert not np.allclose(trained.logits(X), make().fit(X, Y).logits(X), atol=1e-3)
    assert trained.score(X, Y) > 0.6


def rows_of(tmp_path: Path, model: Any, attacks: str, defenses: str, **told: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few images
        result = run_grid(
            model=model, dataset=write_npz(tmp_path / "d.npz"), samples=12, repeats=2,
            attacks=attacks, defenses=defenses, **told,
        )  # fmt: skip
    assert {(row.attack, row.defense): row.reason for row in result if row.status != "ok"} == {}
    return result


@pytest.mark.compiled
def test_a_grid_trains_it(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path, estimator(epochs=3).fit(X, Y), "pgd[steps=3],label_flip[points=6]",
        "none,adv_training[epochs=2,attack=fgsm],median,knn_relabel[neighbors=5]",
    )  # fmt: skip
    notes = {row.attack: {note.name for note in row.notes} for row in rows if row.defense == "none"}
    assert "refit" in notes["label_flip[points=6]"]
    assert not {"refit", "black_box"} & notes["pgd[steps=3]"]


@pytest.mark.compiled
@pytest.mark.slow
def test_a_grid_of_cnn_is_the_same_in_processes(tmp_path: Path) -> None:
    spec = "cnn[channels=3-4,hidden=8,epochs=3,batch_size=16]"
    defenses = "none,adv_training[epochs=2,attack=fgsm]"
    here, there = (rows_of(tmp_path, spec, "pgd[steps=3]", defenses, jobs=jobs) for jobs in (1, 2))
    assert [row.attacked_accuracy for row in here] == [row.attacked_accuracy for row in there]
    assert [row.clean_accuracy for row in here] == [row.clean_accuracy for row in there]


@pytest.mark.compiled
@pytest.mark.slow
def test_every_attack_meets_cnn_behind_every_kind_of_defense(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path, "cnn[channels=3-4,hidden=8,epochs=3,batch_size=16]",
        "fgsm,pgd[steps=3],apgd[steps=4],square[queries=10],deepfool[steps=3],cw[steps=3,search_steps=2],"
        "stadv[steps=6],spatial",
        "none,median,bit_depth,smoothing[draws=4,n0=4,n=20]",
    )  # fmt: skip
    assert len(rows) == 9 * 4
    assert not {note.name for row in rows for note in row.notes} & {"refit", "black_box"}


def test_two_trainings_are_two_models() -> None:
    first, other = estimator().fit(X, Y), estimator(random_state=1).fit(X, Y)
    identities = {wrap(model).given.identity for model in (first, first, other)}
    assert len(identities) == 2
    assert wrap(estimator(dense).fit(X, Y)).given.identity not in identities


def test_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(
        InputError, match="cnn: it needs PyTorch, which is not installed: pip install torch"
    ):
        run_grid(model="cnn")
