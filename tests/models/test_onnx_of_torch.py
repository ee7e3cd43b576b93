"""Modules of PyTorch as its two exporters write them: the same logits, and autograd's gradients."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, off_differences

from fastadv import make_attack, wrap

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
nn = torch.nn

X, Y = blobs(24)
SHAPE = (5, 4)
EXPORTERS = [False, True] if importlib.util.find_spec("onnxscript") else [False]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def exported(net: Any, path: Path, dynamo: bool, batch: bool, channels: int = 1) -> Path:
    images = torch.rand(2 if batch else 1, channels, 5, 4)
    told: dict[str, Any] = {}
    if batch and dynamo:
        told = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    elif batch:
        told = {"dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"]}
    torch.onnx.export(net.eval(), (images,), path, dynamo=dynamo, verbose=False, **told)
    return path


class Net(nn.Module):  # type: ignore[misc,name-defined]
    """Convolutions in groups, strides, both pools, batch normalisation, a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.b = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2)
        self.c = nn.Conv2d(6, 8, 2, stride=2)
        self.pool, self.mean = nn.MaxPool2d(2, stride=1, padding=1), nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.norm(self.a(x)))
        x = x + nn.functional.leaky_relu(self.b(x), 0.1)
        x = self.pool(nn.functional.silu(self.c(x)))
        return self.head(torch.flatten(self.mean(x), 1))


def trained(net: Any) -> Any:
    torch.manual_seed(0)
    for layer in net.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    for _ in range(5):
        net(torch.rand(8, 1, 5, 4))
    return net.eval()


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("dynamo", EXPORTERS)
def test_a_dense_module_is_taken_over(dynamo: bool, batch: bool, tmp_path: Path) -> None:
    net = trained(
        nn.Sequential(nn.Flatten(), nn.Linear(20, 6), nn.Tanh(), nn.Dropout(), nn.Linear(6, 3))
    )
    path = exported(net, tmp_path / "net.onnx", dynamo, batch)
    direct = wrap(net)
    for take_over in (True, False):
        model = wrap(path, image_shape=SHAPE, take_over=take_over)
        assert (model.given.how == "taken over") == take_over
        np.testing.assert_allclose(model.logits(X), direct.logits(X), atol=1e-5)


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("dynamo", EXPORTERS)
def test_a_convolutional_net_has_autograds_gradient(
    dynamo: bool, batch: bool, tmp_path: Path
) -> None:
    net = trained(Net())
    model = wrap(exported(net, tmp_path / "net.onnx", dynamo, batch), image_shape=SHAPE)
    direct = wrap(net, image_shape=SHAPE)
    logits, pullback = model.vjp(X)
    np.testing.assert_allclose(logits, direct.logits(X), atol=1e-5)
    slopes = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    a, b = pullback(slopes), direct.vjp(X)[1](slopes)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 0.9999
    assert off_differences(model, X) < 3e-3


@pytest.mark.compiled
def test_attacks_find_the_same_on_both(tmp_path: Path) -> None:
    net = trained(Net())
    model = wrap(exported(net, tmp_path / "net.onnx", False, True), image_shape=SHAPE)
    direct = wrap(net, image_shape=SHAPE)
    labels = direct.predict(X)
    for spec in ("fgsm[eps=0.2]", "pgd[eps=0.2,steps=5]", "apgd[eps=0.2,steps=5,restarts=1]", "deepfool",
                 "cw[steps=20,search_steps=1]", "stadv[steps=5]", "square[eps=0.2,queries=20]", "spatial"):  # fmt: skip
        found = [
            make_attack(spec).perturb(m, X, labels, task=TASK).success for m in (model, direct)
        ]
        assert abs(found[0].mean() - found[1].mean()) <= 1 / len(X), spec
