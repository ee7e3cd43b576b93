"""Modules of PyTorch that are wrapped: taken over, or through autograd, and the usual traps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, off_differences

from fastadv import InputError, capabilities, make_attack, wrap
from fastadv.protocols import Layered, Model

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional

X, Y = blobs(40)
SHAPE = (5, 4)


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(0)


def logits_of(module: Any, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = module.eval()(torch.from_numpy(x)).double().numpy()
    return found


DENSE = {
    "logistic": lambda: nn.Sequential(nn.Linear(20, 6), nn.Sigmoid(), nn.Linear(6, 3)),
    "tanh": lambda: nn.Sequential(nn.Flatten(), nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 3)),
    "relu": lambda: nn.Sequential(
        nn.Linear(20, 6), nn.ReLU(), nn.Dropout(0.5), nn.Sequential(nn.Linear(6, 5), nn.ReLU()),
        nn.Linear(5, 3),
    ),
    "linear": lambda: nn.Sequential(nn.Linear(20, 6, bias=False), nn.Identity(), nn.Linear(6, 3)),
    "one layer": lambda: nn.Linear(20, 3),
    "double": lambda: nn.Sequential(nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 3)).double(),
    "log softmax": lambda: nn.Sequential(nn.Linear(20, 3), nn.LogSoftmax(dim=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", DENSE)
def test_dense_layers_are_taken_over(name: str) -> None:
    module = DENSE[name]()
    model, through = wrap(module), wrap(module, take_over=False, image_shape=SHAPE)
    assert (model.given.how, through.given.how) == ("taken over", "autograd")
    assert capabilities.able(model, Layered)
    assert not capabilities.able(through, Layered)
    expected = logits_of(module, X.astype(np.float64) if name == "double" else X)
    if name == "log softmax":
        model_logits = model.logits(X)
        np.testing.assert_allclose(
            model_logits - np.log(np.exp(model_logits).sum(axis=1, keepdims=True)),
            expected,
            atol=1e-5,
        )
    else:
        np.testing.assert_allclose(model.logits(X), expected, atol=1e-5)
        slopes = np.random.default_rng(0).normal(size=expected.shape).astype(np.float32)
        np.testing.assert_allclose(model.vjp(X)[1](slopes), through.vjp(X)[1](slopes), atol=1e-5)
    np.testing.assert_allclose(through.logits(X), expected, atol=1e-5)


class Net(nn.Module):  # type: ignore[misc,name-defined]
    """Convolution, batch normalisation, dropout, pooling: what a user brings."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)
        self.scale = 2.0

    def forward(self, x: Any) -> Any:
        x = F.relu(self.norm(self.conv(x)))
        return self.scale * self.head(self.drop(x).mean(dim=(2, 3)))


def trained(net: Any, channels: int = 1) -> Any:
    for _ in range(5):  # statistics of batches
        net(torch.rand(8, channels, 5, 4))
    return net


def test_any_other_module_goes_through_autograd() -> None:
    net = trained(Net())
    assert net.training
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    model = wrap(net, image_shape=SHAPE)
    assert model.given.how == "autograd"
    assert capabilities.able(model, Model)
    assert off_differences(model, X) < 3e-3
    logits = model.logits(X)
    np.testing.assert_array_equal(logits, model.logits(X))
    np.testing.assert_allclose(model.logits(X[3:4]), logits[3:4], atol=1e-5)
    result = make_attack("pgd[steps=3]").perturb(model, X, model.predict(X), task=TASK)
    assert result.x_adv.shape == X.shape
    # the user's module is as it was: in training mode, its parameters trainable, nothing counted
    assert net.training
    assert net.drop.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, weights[name])
    np.testing.assert_allclose(logits, logits_of(net, X.reshape(-1, 1, 5, 4)), atol=1e-5)


@pytest.mark.parametrize("first", [nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Unflatten(1, (1, 20))])
def test_the_first_dense_layer_may_be_behind_others(first: Any) -> None:
    """Then it takes other numbers than an image has."""
    flat = not isinstance(first, nn.Unflatten)
    images = X.reshape(-1, 1, 5, 4) if flat else X
    width = int(np.prod(first(torch.from_numpy(images)).shape[1:]))
    net = nn.Sequential(first, nn.Flatten(), nn.Linear(width, 3))
    model = wrap(net, image_shape=SHAPE, layout="channels_first" if flat else "rows")
    assert model.given.how == "autograd"
    np.testing.assert_allclose(model.logits(X), logits_of(net, images), atol=1e-5)
    assert off_differences(model, X) < 3e-3


def test_a_softmax_over_the_batch_is_not_taken_for_one_over_classes() -> None:
    net = nn.Sequential(nn.Linear(20, 3), nn.LogSoftmax(dim=0))
    with pytest.raises(InputError, match="hangs on the images beside it"):
        wrap(net)


def test_it_is_a_copy() -> None:
    for module in (DENSE["tanh"](), trained(Net())):
        model = wrap(module, image_shape=SHAPE)
        before = model.logits(X)
        with torch.no_grad():
            next(module.parameters()).add_(1.0)
        np.testing.assert_array_equal(model.logits(X), before)
        assert wrap(module, image_shape=SHAPE).given.identity != model.given.identity


def test_the_hash_is_of_weights_architecture_and_attributes() -> None:
    net = trained(Net())
    first = wrap(net, image_shape=SHAPE).given.identity
    assert wrap(net.eval(), image_shape=SHAPE, name="b").given.identity == first
    net.scale = 3.0
    assert wrap(net, image_shape=SHAPE).given.identity != first
    assert wrap(net, image_shape=SHAPE, mean=0.5).given.identity != first

    class Other(Net):
        def forward(self, x: Any) -> Any:
            return -super().forward(x)

    other = Other()
    other.load_state_dict(net.state_dict())
    other.scale = 2.0
    assert wrap(other, image_shape=SHAPE).given.identity != first


def test_channels_come_first_unless_declared() -> None:
    shape = (5, 2, 2)
    images = X.reshape(-1, *shape)
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    net = Net(channels=2)
    model = wrap(net, image_shape=shape, std=[1.0, 2.0])
    assert off_differences(model, X) < 3e-3
    divided = first / np.array([1.0, 2.0], np.float32)[:, None, None]
    np.testing.assert_allclose(model.logits(X), logits_of(net, divided), atol=1e-5)
    # trained on flattened channels first: taken over with its rows in our order
    dense = nn.Sequential(nn.Flatten(), nn.Linear(20, 3))
    for taken in (True, False):
        flat = wrap(dense, image_shape=shape, take_over=taken)
        np.testing.assert_allclose(flat.logits(X), logits_of(dense, first), atol=1e-5)
        assert off_differences(flat, X) < 3e-3

    class Last(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            return self.net(x.permute(0, 3, 1, 2))

    last = wrap(Last(), image_shape=shape, layout="channels_last")
    np.testing.assert_allclose(last.logits(X), logits_of(net, first), atol=1e-5)


@pytest.mark.parametrize("taken", [True, False])
def test_the_last_layer_may_make_probabilities(taken: bool) -> None:
    several = nn.Sequential(nn.Linear(20, 4), nn.Tanh(), nn.Linear(4, 3), nn.Softmax(dim=1))
    for told in ({}, {"probabilities": True}):
        model = wrap(several, take_over=taken, **told)
        z = model.logits(X)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p, logits_of(several, X), atol=1e-5)
        assert off_differences(model, X) < 3e-3
    one = nn.Sequential(nn.Linear(20, 1), nn.Sigmoid())
    model = wrap(one, take_over=taken)
    np.testing.assert_array_equal(model.predict(X), logits_of(one, X)[:, 0] > 0.5)
    margin = nn.Linear(20, 1)
    model = wrap(margin, take_over=taken)
    np.testing.assert_allclose(model.logits(X)[:, 1], logits_of(margin, X)[:, 0], atol=1e-5)
    assert not model.logits(X)[:, 0].any()


class Says(nn.Module):  # type: ignore[misc,name-defined]
    """What a function makes of a linear layer."""

    def __init__(self, what: Any, layer: Any = None) -> None:
        super().__init__()
        self.layer, self.what = layer or nn.Linear(20, 3), what

    def forward(self, x: Any) -> Any:
        return self.what(self.layer(x))


class Flipped(torch.autograd.Function):  # type: ignore[misc,name-defined]
    """The identity with a gradient that is wrong."""

    @staticmethod
    def forward(_: Any, x: Any) -> Any:
        return x * 1.0

    @staticmethod
    def backward(_: Any, gradient: Any) -> Any:
        return -gradient


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (lambda z: F.dropout(z, 0.5), "answers differently for the same image: is dropout on"),
        (lambda z: z - z.mean(dim=0), "hangs on the images beside it"),
        (Flipped.apply, "the gradient of Says is not that of its logits"),
        (lambda z: z.softmax(dim=1), "Says returns probabilities, whose gradient is lost"),
        (lambda z: (z, z), "the module returns tuple, not a tensor of logits"),
        (lambda z: z.sum(), "the model returns shape"),
        (lambda z: nn.Sequential()(z)[:, :0], "the model returns shape"),
        (lambda z: z @ torch.zeros(7, 7), "Says does not take images as rows of 20 numbers"),
    ],
)  # fmt: skip
def test_a_trap_is_a_line(what: Any, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        wrap(Says(what), image_shape=SHAPE)
    assert "\n" not in str(caught.value)


def test_statistics_of_the_batch_are_refused_in_evaluation_mode_too() -> None:
    net = nn.Sequential(
        nn.Linear(20, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)
    )
    with pytest.raises(
        InputError, match=r"Sequential does not take images .*Expected more than 1 value"
    ):
        wrap(net)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(InputError, match="give image_shape"):
        wrap(Net())
    with pytest.raises(InputError, match="no module"):
        wrap(torch.zeros(3))
    with pytest.raises(InputError, match="Linear takes 20 numbers an image"):
        wrap(nn.Linear(20, 3), image_shape=(9, 9))


def test_an_image_that_plays_no_part_has_a_gradient_of_zero() -> None:
    net = Says(lambda z: 0 * z.detach() + 1.0)
    logits, pullback = wrap(net).vjp(X)
    assert not pullback(np.ones_like(logits)).any()


def test_a_hook_is_not_taken_over() -> None:
    net = nn.Linear(20, 3)
    net.register_forward_hook(lambda *passed: -passed[-1])
    model = wrap(net)
    assert model.given.how == "autograd"
    np.testing.assert_allclose(model.logits(X), logits_of(net, X), atol=1e-5)
