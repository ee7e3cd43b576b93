"""Models of fastadv's own as safetensors files, and such files of others."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, needs_torch, small_mlp

from fastadv import SVC, InputError, MLPClassifier, capabilities, registry
from fastadv.defenses.training.dpa import DPA
from fastadv.models.loading import load
from fastadv.protocols import Persistent
from fastadv.task import Task

safetensors = pytest.importorskip("safetensors.numpy")

X, Y = blobs(30, task=Task((5, 4), 2))
LABELS = {"numbers": Y, "texts": np.array(["no", "yes"])[Y], "floats": Y + 1.0, "bytes": Y.astype(np.uint8)}  # fmt: skip


def same(a: Any, b: Any) -> None:
    """Equal to the bit, in what they are and in what they answer."""
    assert type(a) is type(b)
    states = a.state(), b.state()
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        assert array.dtype == states[1][name].dtype, name
        assert array.shape == states[1][name].shape, name
        assert array.tobytes() == states[1][name].tobytes(), name
    assert a.logits(X).tobytes() == b.logits(X).tobytes()
    np.testing.assert_array_equal(a.predict(X), b.predict(X))


@pytest.mark.filterwarnings("ignore::UserWarning")  # too few images to settle on
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("name", [needs_torch(one.name) for one in registry.entries("model")])
def test_every_model_comes_back_to_the_bit(name: str, labels: str, tmp_path: Path) -> None:
    made = registry.make("model", name, random_state=0)
    model = capabilities.bound(made, Task((5, 4), 2), X).fit(X, LABELS[labels])
    if not capabilities.able(model, Persistent):
        pytest.skip(f"{name} is kept by no state")
    model.save(tmp_path / "m.safetensors")
    same(type(model).load(tmp_path / "m.safetensors"), model)
    same(load(str(tmp_path / "m.safetensors"), TASK), model)
    model.save(tmp_path / "m.npz")  # the end of the name tells the format
    same(type(model).load(tmp_path / "m.npz"), model)
    model.save(tmp_path / "again.safetensors")
    first, again = (tmp_path / f"{file}.safetensors" for file in ("m", "again"))
    assert first.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    "made",
    [
        lambda: small_mlp(hidden_layer_sizes=(4, 3), activation="relu", early_stopping=True).fit(X, Y),
        lambda: SVC(kernel="rbf", C=2.0).fit(X, LABELS["texts"]),
        lambda: DPA(partitions=3).fit(None, X, Y, task=Task((5, 4), 2), seed=0),
    ],
    ids=["mlp", "rbf", "votes"],
)  # fmt: skip
def test_other_parameters_come_back_too(made: Any, tmp_path: Path) -> None:
    model = made()
    model.save(tmp_path / "m.safetensors")
    same(type(model).load(tmp_path / "m.safetensors"), model)


def test_the_architecture_is_in_the_metadata(tmp_path: Path) -> None:
    small_mlp().fit(X, Y).save(tmp_path / "m.safetensors")
    content = (tmp_path / "m.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    described = json.loads(header["__metadata__"]["fastadv"])
    assert described["schema"] == 1
    assert described["texts"]["model"] == "MLPClassifier"
    assert json.loads(described["texts"]["parameters"])["hidden_layer_sizes"] == [6]
    assert header["weights"]["dtype"] == "F32"


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load(str(path), TASK)
    line = str(error.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    with pytest.raises(InputError) as error:
        MLPClassifier.load(path)
    assert str(path) in str(error.value)
    return line.removeprefix(str(path))


def test_a_file_of_another_program_says_what_it_lacks(tmp_path: Path) -> None:
    path, zeros = tmp_path / "m.safetensors", np.zeros((2, 3), np.float32)
    safetensors.save_file(
        {f"fc{i}.weight": zeros for i in range(6)}, path, metadata={"format": "pt"}
    )
    assert refused(path) == (
        " holds tensors (fc0.weight, fc1.weight, fc2.weight, fc3.weight, ...), and not which model "
        "they are of: write a factory that makes the model and loads them, and give FILE.py:FACTORY"
    )
    safetensors.save_file({}, path)
    assert "holds tensors (none)" in refused(path)


def test_what_is_no_safetensors_file_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    small_mlp().fit(X, Y).save(path)
    whole = path.read_bytes()
    for content in (
        b"",
        b"no tensors",
        whole[:-8],
        whole + bytes(8),
        whole[:40],
        b"PK" + whole[2:],
    ):
        path.write_bytes(content)
        assert "is no safetensors file, or damaged" in refused(path)


@pytest.mark.parametrize(
    "described",
    ["[", "3", "{}", '{"texts": 3}', '{"texts": {}}', '{"texts": {"model": [1]}}',
     '{"texts": {"model": "Oracle"}}', '{"texts": {"model": "MLPClassifier"}}',
     '{"texts": {"model": "MLPClassifier", "parameters": "3"}}'],
)  # fmt: skip
def test_metadata_that_is_not_ours_is_a_line(described: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    safetensors.save_file({"a": np.zeros(3)}, path, metadata={"fastadv": described})
    assert refused(path)


def test_a_size_that_is_not_there_is_refused_and_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    small_mlp().fit(X, Y).save(path)
    content = path.read_bytes()
    n = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n])
    header["weights"] |= {"shape": [10**12], "data_offsets": [0, 4 * 10**12]}
    for changed in (header, {"weights": {**header["weights"], "data_offsets": [0, 12]}}):
        text = json.dumps(changed).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + n :])
        assert "is no safetensors file, or damaged" in refused(path)
    path.write_bytes((2**60).to_bytes(8, "little") + content[8:])
    assert "is no safetensors file, or damaged" in refused(path)


def test_without_safetensors_it_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    path, model = tmp_path / "m.safetensors", small_mlp().fit(X, Y)
    model.save(path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert refused(path) == " needs safetensors to be read or written: pip install safetensors"
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(InputError, match="pip install safetensors"):
        model.save(tmp_path / "other.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
