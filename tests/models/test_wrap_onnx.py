"""ONNX models that are wrapped: taken over, or in onnxruntime, as exporters write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, off_differences

from fastadv import InputError, capabilities, make_attack, wrap
from fastadv.models.adapters import onnx_model, onnx_runtime
from fastadv.protocols import Layered, Model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_graphs import as_torch_exports, convolutional, model_of, node  # noqa: E402

X, Y = blobs(60)
SHAPE = (5, 4)
RNG = np.random.default_rng(0)
COEFS = [RNG.normal(size=(20, 6)), RNG.normal(size=(6, 5)), RNG.normal(size=(5, 3))]
V = RNG.normal(size=(3, 3))
INTERCEPTS = [RNG.normal(size=6), RNG.normal(size=5), RNG.normal(size=3)]
ACTIVATIONS = {
    "Sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "Tanh": np.tanh,
    "Relu": lambda z: np.maximum(z, 0),
}


def dense(x: np.ndarray, activation: str = "Tanh") -> np.ndarray:
    for i, (W, b) in enumerate(zip(COEFS, INTERCEPTS, strict=True)):
        x = x @ W + b
        x = ACTIVATIONS[activation](x) if i < 2 else x
    return x


def both(model: Any, **told: Any) -> tuple[Any, Any]:
    """A model taken over, and in onnxruntime."""
    taken, through = wrap(model, **told), wrap(model, take_over=False, **told)
    assert taken.given.how == "taken over"
    assert through.given.how == "onnxruntime, with the gradient of its graph"
    assert capabilities.able(taken, Layered)
    assert not capabilities.able(through, Layered)
    return taken, through


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [("n", 20), (1, 20), ("n", 1, 5, 4), (1, 1, 5, 4), (7, 20)])
def test_dense_layers_are_taken_over(activation: str, shape: tuple[Any, ...]) -> None:
    model = as_torch_exports(COEFS, INTERCEPTS, activation, shape)
    expected = dense(X.astype(np.float64), activation)
    for met in both(model, image_shape=SHAPE):
        np.testing.assert_allclose(met.logits(X), expected, atol=1e-5)
        assert off_differences(met, X) < 3e-3
        assert met.classes_.tolist() == [0, 1, 2]
        assert met.given.n_features == 20


def graph(*nodes: Any, **constants: Any) -> Any:
    """Nodes before, between or behind a dense layer, as other exporters write it."""
    known = {
        "W": COEFS[0][:, :3],
        "b": INTERCEPTS[0][:3],
        "V": V,
        **constants,
    }
    used = {name for one in nodes for name in one.input}
    wide = {
        name: np.asarray(value, dtype=np.float32) if np.asarray(value).dtype == float else value
        for name, value in known.items()
        if name in used
    }
    return model_of(list(nodes), wide, ("n", 1, 5, 4))


M, C = RNG.random((1, 1, 5, 4)), RNG.normal(size=3)
FLAT = np.array([-1, 20])
W3, B3 = COEFS[0][:, :3], INTERCEPTS[0][:3]


def sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-z)))


GRAPHS: dict[str, tuple[Any, Any]] = {
    "scaled before": (
        graph(node("Sub", "x m", "a"), node("Div", "a half", "c"), node("Flatten", "c", "d"),
              node("MatMul", "d W", "e"), node("Add", "e b", "z"), m=M, half=0.5),
        lambda x: (x - M.ravel()) / 0.5 @ W3 + B3,
    ),
    "a constant first": (
        graph(node("Sub", "one x", "a"), node("Mul", "half a", "c"), node("Reshape", "c flat", "d"),
              node("MatMul", "d W", "e"), node("Add", "b e", "z"), one=1.0, half=0.5, flat=FLAT),
        lambda x: 0.5 * (1 - x) @ W3 + B3,
    ),
    "a constant minus what was moved": (
        graph(node("Add", "x m", "a"), node("Sub", "one a", "c"), node("Flatten", "c", "d"), node("MatMul", "d W", "z"), m=M, one=1.0),
        lambda x: (1 - x - M.ravel()) @ W3,
    ),
    "the form by its own shape": (
        graph(node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n first", "u"),
              node("Concat", "u minus", "f", axis=0), node("Reshape", "x f", "d"), node("MatMul", "d W", "e"),
              node("Cast", "e", "z", to=1), zero=np.array(0), first=np.array([0]), minus=np.array([-1])),
        lambda x: x @ W3,
    ),
    "scaled between": (
        graph(node("Flatten", "x", "d"), node("MatMul", "d W", "e"), node("Mul", "e c", "f"),
              node("Tanh", "f", "t"), node("Sub", "t c", "g"), node("MatMul", "g V", "h"), node("Dropout", "h", "z"), c=C),
        lambda x: (np.tanh((x @ W3) * C) - C) @ V,
    ),
    "channels last within": (
        graph(node("Transpose", "x", "a", perm=[0, 3, 2, 1]), node("Flatten", "a", "d"), node("MatMul", "d W", "z")),
        lambda x: x.reshape(-1, 5, 4).transpose(0, 2, 1).reshape(-1, 20) @ W3,
    ),
    "weights that are turned in the graph": (
        graph(node("Transpose", "T", "U"), node("Flatten", "x", "d"), node("Gemm", "d U b", "z", alpha=0.5, beta=2.0), T=W3.T.copy()),
        lambda x: 0.5 * x @ W3 + 2 * B3,
    ),
    "batch normalisation": (
        graph(node("Flatten", "x", "d"), node("MatMul", "d W", "e"), node("BatchNormalization", "e g b mu v", "f", epsilon=0.01),
              node("Relu", "f", "r"), node("MatMul", "r V", "z"), g=C, mu=B3, v=np.square(C)),
        lambda x: np.maximum((x @ W3 - B3) / np.sqrt(C**2 + 0.01) * C + B3, 0) @ V,
    ),
    "softmax": (
        graph(node("Flatten", "x", "d"), node("MatMul", "d W", "e"), node("Softmax", "e", "z", axis=1)),
        lambda x: x @ W3,
    ),
    "log softmax": (
        graph(node("Flatten", "x", "d"), node("MatMul", "d W", "e"), node("LogSoftmax", "e", "f"), node("Identity", "f", "z")),
        lambda x: x @ W3,
    ),
    "sigmoid of one": (
        graph(node("Flatten", "x", "d"), node("MatMul", "d w", "e"), node("Sigmoid", "e", "z"), w=W3[:, :1]),
        lambda x: np.hstack([0 * x[:, :1], x @ W3[:, :1]]),
    ),
    "a probability and its complement": (
        graph(node("Flatten", "x", "d"), node("MatMul", "d w", "e"), node("Sigmoid", "e", "p"),
              node("Sub", "one p", "q"), node("Concat", "q p", "z", axis=1), w=W3[:, :1], one=1.0),
        lambda x: np.hstack([0 * x[:, :1], x @ W3[:, :1]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_what_exporters_write_around_layers_is_folded_in(name: str) -> None:
    model, expected = GRAPHS[name]
    for met in both(model, image_shape=SHAPE):
        np.testing.assert_allclose(met.logits(X), expected(X.astype(np.float64)), atol=1e-5)
        assert off_differences(met, X) < 3e-3


@pytest.mark.parametrize(
    ("nodes", "kind"),
    [
        ([node("Flatten", "x", "d"), node("MatMul", "d W", "e"), node("Tanh", "e", "t"), node("MatMul", "t V", "f"), node("Relu", "f", "r"), node("MatMul", "r V", "z")], "two"),
        ([node("Relu", "x", "a"), node("Flatten", "a", "d"), node("MatMul", "d W", "z")], "first"),
        ([node("Flatten", "x", "d"), node("MatMul", "d W", "e"), node("LeakyRelu", "e", "t"), node("MatMul", "t V", "z")], "leaky"),
        ([node("Flatten", "x", "d"), node("MatMul", "d W", "e"), node("Tanh", "e", "t"), node("MatMul", "t V", "f"), node("Add", "f t", "z")], "residual"),
        ([node("Flatten", "x", "d"), node("MatMul", "d W", "e"), node("Tanh", "e", "z")], "open"),
    ],
)  # fmt: skip
def test_other_networks_go_through_onnxruntime(
    nodes: list[Any], kind: str, monkeypatch: Any
) -> None:
    for compared in (True, False):  # what is taken over is right without being compared, too
        monkeypatch.setattr(onnx_model, "is_there", lambda _, compared=compared: compared)
        model = wrap(graph(*nodes), image_shape=SHAPE)
        assert model.given.how == "onnxruntime, with the gradient of its graph", kind
        assert off_differences(model, X) < 3e-3


def test_what_only_looks_like_probabilities_of_classes_is_left_as_it_is() -> None:
    w, less = W3[:, :1], 0.9
    nodes = [node("Flatten", "x", "d"), node("MatMul", "d w", "e"), node("Sigmoid", "e", "p"),
             node("Sub", "less p", "q"), node("Concat", "q p", "z", axis=1)]  # fmt: skip
    p = sigmoid(X.astype(np.float64) @ w)
    model = wrap(graph(*nodes, w=w, less=less), image_shape=SHAPE)
    np.testing.assert_allclose(model.logits(X), np.hstack([less - p, p]), atol=1e-5)
    assert off_differences(model, X) < 3e-3
    over_images = [*nodes[:1], node("MatMul", "d W", "e"), node("Softmax", "e", "z", axis=0)]
    with pytest.raises(InputError, match="hangs on the images beside it"):
        wrap(graph(*over_images), image_shape=SHAPE)


def test_branches_use_weights_of_the_graph_around_them() -> None:
    def branch(name: str) -> Any:
        out = onnx.helper.make_tensor_value_info("o", 1, [20, 3])
        return onnx.helper.make_graph([node("Identity", name, "o")], "branch", [], [out])

    for first in (True, False):
        nodes = [
            node("If", "first", "M", then_branch=branch("W"), else_branch=branch("U")),
            node("MatMul", "x M", "z"),
        ]
        wide = {"W": W3.astype(np.float32), "U": -W3.astype(np.float32), "first": np.array(first)}
        model = wrap(model_of(nodes, wide))
        assert model.given.how == "onnxruntime, with the gradient of its graph"
        np.testing.assert_allclose(model.logits(X), X @ (W3 if first else -W3), atol=1e-5)
        assert off_differences(model, X) < 3e-3


# -- convolutional nets and forms ------------------------------------------------------------


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_a_convolutional_net_has_its_gradient(batch: Any) -> None:
    model = wrap(convolutional((batch, 1, 5, 4)), image_shape=SHAPE)
    same = wrap(convolutional(), image_shape=SHAPE)
    assert capabilities.able(model, Model)
    assert off_differences(model, X) < 3e-3
    np.testing.assert_allclose(model.logits(X), same.logits(X), atol=1e-5)
    np.testing.assert_allclose(model.logits(X[3:4]), same.logits(X)[3:4], atol=1e-5)
    found = make_attack("pgd[steps=5,eps=0.8,step_size=0.3]").perturb(
        model, X, model.predict(X), task=TASK
    )
    assert found.success.any()
    assert (model.any_thread, 1 <= model.batch_rows <= 128) == (True, True)


def test_a_form_that_names_one_image_goes_row_by_row() -> None:
    """Where the number of images cannot be taken away, they go one at a time."""
    nodes = [
        node("Flatten", "x", "d"), node("Expand", "bias three", "e"),
        node("MatMul", "d W", "f"), node("Concat", "f e", "g", axis=0),
        node("ReduceSum", "g first", "h", keepdims=0), node("Reshape", "h form", "z"),
    ]  # fmt: skip
    constants = {
        "bias": INTERCEPTS[0][:3].astype(np.float32).reshape(1, 3), "W": W3.astype(np.float32),
        "three": np.array([1, 3]), "first": np.array([0]), "form": np.array([1, 3]),
    }  # fmt: skip
    model = wrap(model_of(nodes, constants, (1, 1, 5, 4), output=(1, 3)), image_shape=SHAPE)
    np.testing.assert_allclose(model.logits(X), X @ W3 + B3, atol=1e-5)
    assert off_differences(model, X) < 3e-3


@pytest.mark.parametrize("form", [(2, 5, 4), (5, 4, 2), ("c", "h", "w")])
def test_the_form_that_a_graph_declares_says_how_it_takes_images(form: Any) -> None:
    """Channels first or last, by what it names; first where it names nothing, as torch has it."""
    shape = (5, 4, 2)
    task_x, _ = blobs(20)
    x = np.hstack([task_x, task_x[::-1]]).astype(np.float32)
    W = RNG.normal(size=(40, 3)).astype(np.float32)
    nodes = [
        node("Flatten", "x", "d"),
        node("MatMul", "d W", "e"),
        node("Tanh", "e", "t"),
        node("Mul", "t e", "z"),
    ]
    model = wrap(model_of(nodes, {"W": W}, ("n", *form)), image_shape=shape)
    images = x.reshape(-1, *shape)
    last = form == (5, 4, 2)
    rows = (images if last else images.transpose(0, 3, 1, 2)).reshape(len(x), -1)
    z = rows @ W
    np.testing.assert_allclose(model.logits(x), np.tanh(z) * z, rtol=1e-3, atol=1e-4)
    assert off_differences(model, x) < 3e-3
    told = wrap(model_of(nodes, {"W": W}, ("n", 40)), image_shape=shape, layout="channels_first")
    z = images.transpose(0, 3, 1, 2).reshape(len(x), -1) @ W
    np.testing.assert_allclose(told.logits(x), np.tanh(z) * z, rtol=1e-3, atol=1e-4)


def test_grey_images_may_come_without_channels() -> None:
    model = as_torch_exports(COEFS, INTERCEPTS, shape=("n", 5, 4))
    for met in both(model, image_shape=SHAPE):
        np.testing.assert_allclose(met.logits(X), dense(X.astype(np.float64)), atol=1e-5)


def test_what_is_declared_is_inside_the_gradient() -> None:
    told = {"mean": 0.4, "std": 0.2, "input_range": (0, 2), "image_shape": SHAPE}
    expected = dense((2 * X.astype(np.float64) - 0.4) / 0.2)
    for met in both(as_torch_exports(COEFS, INTERCEPTS), **told):
        np.testing.assert_allclose(met.logits(X), expected, atol=1e-4)
        assert off_differences(met, X) < 3e-3
    assert met.given.identity != wrap(as_torch_exports(COEFS, INTERCEPTS)).given.identity


def test_float64_and_whole_numbers() -> None:
    nodes = [node("MatMul", "x W", "e"), node("Tanh", "e", "z")]
    wide = wrap(model_of(nodes, {"W": W3}, dtype=np.float64))
    np.testing.assert_allclose(wide.logits(X), np.tanh(X.astype(float) @ W3), atol=1e-7)
    assert off_differences(wide, X) < 3e-3
    bytes_ = model_of(
        [node("Cast", "x", "f", to=1), node("MatMul", "f W", "z")],
        {"W": W3.astype(np.float32) / 255}, dtype=np.uint8,
    )  # fmt: skip
    bytes_.graph.output[0].type.tensor_type.elem_type = 1
    with pytest.raises(
        InputError, match=r"takes whole numbers \(uint8\): wrap it with input_range"
    ):
        wrap(bytes_, image_shape=SHAPE)
    model = wrap(bytes_, image_shape=SHAPE, input_range=(0, 255))
    assert not capabilities.differentiable(model)
    assert model.given.how.endswith("it takes whole numbers (uint8)")
    np.testing.assert_allclose(model.logits(X), np.rint(255 * X) / 255 @ W3, atol=1e-5)


@pytest.mark.parametrize("opset", [9, 11, 13, 15])
def test_older_operators_are_brought_to_newer_ones(opset: int) -> None:
    expected = wrap(convolutional(), image_shape=SHAPE)
    old = convolutional()
    old.opset_import[0].version = opset
    model = wrap(old, image_shape=SHAPE)
    assert capabilities.differentiable(model)
    np.testing.assert_allclose(model.logits(X), expected.logits(X), atol=1e-5)


# -- what tells one from another -------------------------------------------------------------


def test_the_hash_is_of_weights_and_graph_and_not_of_names() -> None:
    first = both(as_torch_exports(COEFS, INTERCEPTS))
    renamed = as_torch_exports(COEFS, INTERCEPTS)
    text = renamed.SerializeToString().replace(b"0.weight", b"9.weight")
    renamed.ParseFromString(text)
    renamed.producer_name, renamed.graph.name = "another", "other"
    other = as_torch_exports([COEFS[0] + 1e-6, *COEFS[1:]], INTERCEPTS)
    turned = as_torch_exports(COEFS, INTERCEPTS, "Relu")
    for taken, met in zip((True, False), first, strict=True):
        assert wrap(renamed, take_over=taken, name="b").given.identity == met.given.identity
        for changed in (other, turned):
            assert wrap(changed, take_over=taken).given.identity != met.given.identity
    assert first[0].given.identity != first[1].given.identity


def test_it_is_a_copy() -> None:
    for file in (as_torch_exports(COEFS, INTERCEPTS), convolutional()):
        model = wrap(file, image_shape=SHAPE)
        before = model.logits(X)
        del file.graph.node[:]
        np.testing.assert_array_equal(model.logits(X), before)


def test_labels_that_are_not_those_of_the_scores_are_told() -> None:
    """As of a threshold that was tuned: attacks would meet another model than the one that runs."""
    nodes = [
        node("MatMul", "x W", "e"), node("Softmax", "e", "z"), node("Sub", "z threshold", "t"),
        node("ArgMax", "t", "label", axis=1, keepdims=0),
    ]  # fmt: skip
    constants = {"W": W3.astype(np.float32), "threshold": np.zeros(3, np.float32)}
    model = model_of(nodes, constants)
    model.graph.output.append(onnx.helper.make_tensor_value_info("label", 7, ["n"]))
    for take_over in (True, False):
        assert wrap(model, images=X, take_over=take_over)
    model.graph.initializer[1].raw_data = np.array([-2, 0, 0], np.float32).tobytes()
    for take_over in (True, False):
        with pytest.raises(InputError, match="predicts other labels than its scores say"):
            wrap(model, images=X, take_over=take_over)


def test_what_is_taken_over_is_compared_with_onnxruntime(monkeypatch: Any) -> None:
    model = as_torch_exports(COEFS, INTERCEPTS)
    real = onnx_model.layers_of

    def wrong(*given: Any) -> Any:
        layers = real(*given)
        layers.coefs[0] = layers.coefs[0] * 1.1
        return layers

    monkeypatch.setattr(onnx_model, "layers_of", wrong)
    assert wrap(model).given.how == "onnxruntime, with the gradient of its graph"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_net_with_many_kinks_is_not_refused_on_a_black_ground(seed: int) -> None:
    """Maxima of equal pixels tie, and steps that cross no kink are small."""
    rng = np.random.default_rng(seed)
    model = convolutional(("n", 1, 24, 24), seed=seed)
    images = np.zeros((12, 24, 24), np.float32)
    images[:, 8:16, 10:14] = rng.random((12, 8, 4))
    images = images.reshape(12, -1)
    met = wrap(model, image_shape=(24, 24), images=images)
    assert capabilities.differentiable(met)
    real = onnx_runtime.Differentiable.vjp

    def off(self: Any, x: np.ndarray) -> Any:
        made, pull = real(self, x)
        return made, lambda d: 1.2 * pull(d)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_runtime.Differentiable, "vjp", off)
        with pytest.raises(InputError, match="is not that of its logits"):
            wrap(model, image_shape=(24, 24), images=images)
