"""What a new user, or somebody who means harm, gives as an ONNX file: a line, and nothing read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import write_npz

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402
from onnx_graphs import as_torch_exports, convolutional, model_of, node  # noqa: E402

from fastadv import InputError, wrap  # noqa: E402
from fastadv.models.adapters import onnx_file  # noqa: E402

W = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
B = np.zeros(3, np.float32)
Made = Callable[[Path], Any]


def bytes_of(model: Any) -> bytes:
    data: bytes = model.SerializeToString()
    return data


def dense(k: int = 3, **changes: Any) -> Any:
    return as_torch_exports([np.resize(W, (20, k))], [np.zeros(k)], **changes)


def of(*nodes: Any, shape: Any = ("n", 20), **constants: np.ndarray) -> bytes:
    return bytes_of(model_of(list(nodes), {"W": W, **constants}, shape))


def two_inputs() -> bytes:
    model = dense()
    model.graph.input.append(helper.make_tensor_value_info("scale", 1, [1]))
    return bytes_of(model)


def taking(elem: int) -> bytes:
    model = dense()
    model.graph.input[0].type.tensor_type.elem_type = elem
    return bytes_of(model)


def several_outputs() -> bytes:
    model = model_of(
        [node("MatMul", "x W", "z"), node("Tanh", "z", "y"), node("Relu", "z", "r")], {"W": W}
    )
    model.graph.output[0].name = "y"
    model.graph.output.append(helper.make_tensor_value_info("r", 1, ["n", 3]))
    return bytes_of(model)


def lying() -> bytes:
    """A tensor of 10^15 numbers, of which there are three."""
    model = dense()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([10**7, 10**8])
    return bytes_of(model)


def unrolling(form: list[int]) -> bytes:
    """A few bytes that make terabytes."""
    return of(
        node("MatMul", "x W", "a"), node("ConstantOfShape", "form", "c"),
        node("ReduceSum", "c", "s", keepdims=0), node("Add", "a s", "z"),
        form=np.array(form),
    )  # fmt: skip


def outside(location: str, **said: str) -> Made:
    """Weights that are said to be in another file."""

    def made(folder: Path) -> bytes:
        model = dense()
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        where = str(folder.parent / "key") if location == "absolute" else location
        for key, value in {"location": where, **said}.items():
            tensor.external_data.add(key=key, value=value)
        return bytes_of(model)

    return made


FILES: dict[str, tuple[Any, str]] = {
    "empty": (b"", "is no ONNX file, or is damaged"),
    "text": (b"These are no weights.\n", "is no ONNX file, or is damaged"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "is no ONNX file, or is damaged"),
    "cut off": (bytes_of(dense())[:-60], "is no ONNX file, or is damaged"),
    "cut early": (bytes_of(dense())[:9], "is no ONNX file, or is damaged"),
    "lying": (lying(), "is too small for the declared shape"),
    "unknown operator": (of(node("Frobnicate", "x W", "z")), "has the operator Frobnicate of ONNX, which is not known here"),
    "unknown domain": (of(node("Run", "x W", "z", domain="evil.example")), "has the operator evil.example.Run, which is not known here"),
    "no such value": (of(node("MatMul", "x V", "z")), "is no valid ONNX model"),
    "two inputs": (two_inputs(), "takes 2 inputs (x, scale); it has to take one, images"),
    "texts": (taking(TensorProto.STRING), "takes string; it has to take an array of numbers, images"),
    "complex": (taking(TensorProto.COMPLEX64), "takes complex64; it has to take an array of numbers, images"),
    "whole numbers": (taking(TensorProto.UINT8), "takes whole numbers (uint8): wrap it with input_range"),
    "several outputs": (several_outputs(), "returns several arrays (y, r); it has to return logits"),
    "labels alone": (bytes_of(model_of([node("Cast", "x", "l", to=7)], {}, out="l")), "returns no scores of classes"),
    "ten outputs": (bytes_of(dense(10)), "tells 10 classes apart (0 to 9), data.npz has 3 (0 to 2)"),
    "wide": (bytes_of(as_torch_exports([np.vstack([W, W])], [B], shape=("n", 40))), "takes 40 numbers an image; image_shape=(5, 4, 1) has 20"),
    "another size": (bytes_of(convolutional(("n", 3, 8, 8))), "takes images of 3 x 8 x 8; these are 5 x 4 x 1"),
    "five dimensions": (bytes_of(dense(shape=("n", 1, 1, 5, 4))), "takes an array of ? x 1 x 1 x 5 x 4; images are (n, d) or (n, C, H, W)"),
    "one number": (of(node("ReduceSum", "x", "z", keepdims=0)), "the model returns shape () for 6 images; logits have shape (6, number of classes)"),
    "sizes that do not fit": (of(node("MatMul", "x W", "a"), node("MatMul", "a W", "z")), "cannot run the model (Node () Op (MatMul)"),
    "terabytes": (unrolling([10**7, 10**6]), "makes more than"),
    "external, absolute": (outside("absolute"), "only files beside it are read"),
    "external, above": (outside("../key"), "has weights in '../key': only files beside it are read"),
    "external, below": (outside("folder/key"), "only files beside it are read"),
    "external, nowhere": (outside("nothing.data"), "has weights in nothing.data: No such file"),
    "external, a link": (outside("link"), "has weights in 'link': only files beside it are read"),
    "external, a pipe": (outside("pipe"), "has weights in pipe: it is no regular file"),
    "external, too short": (outside("short", length="240"), "which ends before them"),
    "external, below 0": (outside("short", offset="-1"), "not by numbers"),
    "external, huge": (outside("short", length=str(2**40)), "weights of more than 1 GiB"),
    "external, another size": (outside("short"), "is too small for the declared shape"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "models"
    inner.mkdir()
    (tmp_path / "key").write_bytes(bytes(240))
    (inner / "short").write_bytes(bytes(100))
    (inner / "link").symlink_to(tmp_path / "key")
    (inner / "folder").mkdir()
    (inner / "folder" / "key").write_bytes(bytes(240))
    os.mkfifo(inner / "pipe")
    return inner


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_a_line(
    name: str, program: Any, folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    content, line = FILES[name]
    file = folder / "mine.onnx"
    file.write_bytes(content(folder) if callable(content) else content)
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "data.npz")
    done = program("attack", "fgsm", "--dataset", "data.npz", "--model", "models/mine.onnx")
    assert done.code == 2, done.out
    assert line in done.err
    *progress, last = done.err.splitlines()
    assert last.startswith("fastadv: ")
    assert not any("rror" in text for text in progress)


def test_weights_from_beside_the_file_are_read(folder: Path) -> None:
    model, at = dense(), 16
    tensor = model.graph.initializer[0]
    (folder / "mine.onnx.data").write_bytes(bytes(at) + tensor.raw_data)
    expected = wrap(model)
    size = str(len(tensor.raw_data))
    said = outside("mine.onnx.data", offset=str(at), length=size)(folder)
    (folder / "mine.onnx").write_bytes(said)
    found = wrap(folder / "mine.onnx")
    x = np.random.default_rng(0).random((4, 20)).astype(np.float32)
    np.testing.assert_array_equal(found.logits(x), expected.logits(x))
    assert found.given.identity == expected.given.identity
    assert wrap(str(folder / "mine.onnx")).given.identity == expected.given.identity
    loose = onnx.ModelProto()
    loose.ParseFromString(said)
    with pytest.raises(InputError, match="has weights in other files: give the file"):
        wrap(loose)


def test_what_a_file_names_within_a_node_is_not_read_either(folder: Path) -> None:
    inner = onnx.numpy_helper.from_array(W)
    inner.ClearField("raw_data")
    inner.data_location = TensorProto.EXTERNAL
    inner.external_data.add(key="location", value="../key")
    model = model_of([node("Constant", "", "V", value=inner), node("MatMul", "x V", "z")], {})
    body = helper.make_graph([node("Constant", "", "V", value=inner)], "g", [], [])
    branch = model_of([node("If", "x", "z", then_branch=body, else_branch=body)], {})
    function = helper.make_function(
        "own", "F", ["x"], ["z"],
        [node("Constant", "", "V", value=inner), node("MatMul", "x V", "z")],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    inner.name = "V"
    V = helper.make_tensor_value_info("V", 1, [20, 3])
    held = helper.make_graph([], "g", [], [V], [inner])
    branching = helper.make_function(
        "own", "F", ["x"], ["z"],
        [node("If", "x", "V", then_branch=held, else_branch=held), node("MatMul", "x V", "z")],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    preset = helper.make_function(
        "own", "F", ["x"], ["z"], [node("Identity", "x", "z")], [helper.make_opsetid("", 18)],
        [], [helper.make_attribute("V", inner)],
    )  # fmt: skip
    called = []
    for one in (function, branching, preset):
        called.append(model_of([node("F", "x", "z", domain="own")], {}))
        called[-1].functions.append(one)
    for one in (model, branch, *called):
        (folder / "mine.onnx").write_bytes(bytes_of(one))
        with pytest.raises(InputError, match="only files beside it are read"):
            wrap(folder / "mine.onnx")


def test_a_file_that_is_too_large_is_not_read(folder: Path, monkeypatch: Any) -> None:
    (folder / "mine.onnx").write_bytes(bytes_of(dense()))
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 100)
    with pytest.raises(InputError, match=r"is larger than .* GiB, the most that is read"):
        wrap(folder / "mine.onnx")


def test_functions_of_the_model_itself_are_taken_in() -> None:
    function = helper.make_function(
        "own", "F", ["x", "w"], ["z"], [node("MatMul", "x w", "z")], [helper.make_opsetid("", 18)]
    )
    model = model_of([node("F", "x W", "z", domain="own")], {"W": W})
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(function)
    assert wrap(model).given.how == "taken over"


@pytest.mark.parametrize("absent", ["onnx", "onnxruntime"])
def test_a_library_that_is_not_installed_is_named(
    absent: str, folder: Path, monkeypatch: Any
) -> None:
    real = onnx_file.importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == absent:
            raise ImportError(name)
        return real(name, *rest)

    (folder / "mine.onnx").write_bytes(bytes_of(dense()))
    monkeypatch.setattr(onnx_file.importlib, "import_module", without)
    line = f"need {absent}, which is not installed: pip install onnx onnxruntime"
    if absent == "onnxruntime":
        assert wrap(folder / "mine.onnx").given.how == "taken over"  # which needs it not
    with pytest.raises(InputError, match=line):
        wrap(folder / "mine.onnx", take_over=False)


def test_no_library_of_operators_is_ever_loaded(monkeypatch: Any) -> None:
    import onnxruntime

    loaded: list[Any] = []
    monkeypatch.setattr(
        onnxruntime.SessionOptions, "register_custom_ops_library",
        lambda _, path: loaded.append(path), raising=False,
    )  # fmt: skip
    given: list[Any] = []
    real = onnxruntime.InferenceSession

    def session(model: Any, *rest: Any, **told: Any) -> Any:
        given.append(type(model))
        return real(model, *rest, **told)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    wrap(convolutional(), image_shape=(5, 4))
    assert set(given) == {bytes}  # never a path, beside which it would look for files
    assert loaded == []


def test_the_size_of_a_free_input_has_to_be_told() -> None:
    free = dense(shape=("n", "d"))
    with pytest.raises(InputError, match="does not say how large images are"):
        wrap(free)
    assert wrap(free, image_shape=(5, 4)).given.how == "taken over"


def test_other_objects_of_the_libraries_are_no_models() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(bytes_of(dense()))
    for thing, kind in ((session, "InferenceSession"), (dense().graph, "GraphProto")):
        with pytest.raises(InputError, match=f"{kind} is no ONNX model; give an onnx.ModelProto"):
            wrap(thing)


ODD = [0, -1, 1, 2, 7, 2**31 - 1, 2**40, -(2**63)]
KINDS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})


def damaged(model: Any, rng: np.random.Generator) -> bytes:
    """A model of which one thing is another: an operator, a wire, a number, a size, a version."""
    graph, odd = model.graph, ODD[rng.integers(len(ODD))]
    one = graph.node[rng.integers(len(graph.node))]
    tensor = graph.initializer[rng.integers(len(graph.initializer))]
    names = [name for each in graph.node for name in (*each.input, *each.output)]
    what = rng.integers(7)
    if what == 0:
        one.op_type = KINDS[rng.integers(len(KINDS))]
    elif what == 1:
        one.input[rng.integers(len(one.input))] = names[rng.integers(len(names))]
    elif what == 2:
        for attribute in one.attribute:
            attribute.i = odd % 2**63
            attribute.ints[:] = [odd] * len(attribute.ints)
    elif what == 3:
        tensor.dims[rng.integers(len(tensor.dims))] = odd
    elif what == 4:
        tensor.raw_data = rng.bytes(len(tensor.raw_data))
    elif what == 5:
        graph.input[0].type.tensor_type.shape.dim[rng.integers(4)].dim_value = odd
    else:
        model.opset_import[0].version = int(rng.integers(1, 24))
    return bytes_of(model)


def test_whatever_is_damaged_is_a_line(folder: Path) -> None:
    rng, file, said = np.random.default_rng(0), folder / "mine.onnx", []
    for number in range(150):
        shape = (("n", 1)[number % 2], 1, 5, 4)
        model = convolutional(shape) if number % 3 else dense(shape=shape)
        data = bytearray(damaged(model, rng))
        if number % 5 == 0:
            data[rng.integers(len(data))] ^= 255
        file.write_bytes(data)
        try:
            wrap(file, image_shape=(5, 4))
        except InputError as error:
            said.append(str(error))
    assert 50 < len(said) < 150
    assert not any("\n" in text for text in said)
    unforeseen = [text for text in said if "cannot be taken" in text]
    assert unforeseen == []
