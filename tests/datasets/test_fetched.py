"""What was fetched, read: tiny files in the form of the published ones."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from making import assert_same, assert_sound, fault_of, small_arrays

from fastadv import registry
from fastadv.datasets import load_dataset, published
from fastadv.datasets.published import File


def idx(array, code=0x08):
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(">i4" if code == 0x0C else np.uint8).tobytes())


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """Return a function that puts files where those of a data set belong, as if published so."""
    monkeypatch.setenv("FASTADV_DATA", str(tmp_path))

    def put(name, *contents):
        known = published.PUBLISHED[name]
        (tmp_path / name).mkdir(exist_ok=True)
        files = []
        for file, data in zip(known.files, contents, strict=True):
            (tmp_path / name / file.name).write_bytes(data)
            files.append(File(file.name, f"sha256:{hashlib.sha256(data).hexdigest()}"))
        monkeypatch.setitem(published.PUBLISHED, name, known._replace(files=tuple(files)))
        return tmp_path / name

    return put


def test_every_fetched_one_can_be_fetched_and_says_how():
    entries = [entry.name for entry in registry.DATASETS if entry.kind == "fetched"]
    assert sorted(entries) == sorted(published.PUBLISHED)


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_what_is_not_there_says_what_to_put_where(name, monkeypatch, tmp_path):
    monkeypatch.setenv("FASTADV_DATA", str(tmp_path))
    fault = fault_of(name)
    assert fault.startswith(f"{name} is not on this machine: fastadv data fetch {name} (")
    assert fault.endswith(f"into {tmp_path / name}")


@pytest.mark.parametrize(("name", "third"), [("fashion_mnist", "Pullover"), ("kmnist", "su")])
def test_idx_with_names(fetched, npz, name, third):
    arrays = small_arrays()
    folder = fetched(name, *(idx(a) for a in arrays.values()))
    data = load_dataset(name)
    assert_sound(data)
    assert_same(data, load_dataset(str(npz())))
    assert data.class_names[2] == third
    assert_same(data, load_dataset(str(folder)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"1")
    assert "found other data than were published, or a part of them; get it again" in fault_of(name)


def test_qmnist(fetched, npz):
    arrays = small_arrays()
    labels = {
        key: np.repeat(arrays[key][:, np.newaxis], 8, axis=1) for key in ("y_train", "y_test")
    }
    fetched(
        "qmnist", idx(arrays["x_train"]), idx(labels["y_train"], 0x0C), idx(arrays["x_test"]),
        idx(labels["y_test"], 0x0C),
    )  # fmt: skip
    assert_same(load_dataset("qmnist"), load_dataset(str(npz())))


def test_emnist(fetched, npz):
    arrays = small_arrays()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for subset, first in (("letters", 1), ("balanced", 0)):
            for part in ("train", "test"):
                name = f"gzip/emnist-{subset}-{part}"
                archive.writestr(f"{name}-images-idx3-ubyte.gz", idx(arrays[f"x_{part}"]))
                archive.writestr(f"{name}-labels-idx1-ubyte.gz", idx(arrays[f"y_{part}"] + first))
    fetched("emnist", buffer.getvalue())
    letters = load_dataset("emnist[subset=letters]")
    assert_same(letters, load_dataset(str(npz())))
    assert letters.class_names == ("a", "b", "c")
    assert "rows and columns of an image are exchanged" in letters.notes[0]
    assert load_dataset("emnist").class_names == ("0", "1", "2")
    assert load_dataset("emnist").fingerprint != letters.fingerprint
    assert "gzip/emnist-digits-train-images-idx3-ubyte.gz cannot be read" in fault_of(
        "emnist[subset=digits]"
    )


def test_the_classes_of_emnist():
    from fastadv.datasets.fetched import _EMNIST_CLASSES

    sizes = {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 27, "digits": 10, "mnist": 10}
    assert {name: len(classes) for name, classes in _EMNIST_CLASSES.items()} == sizes


def usps_lines(pixels, labels):
    rows = zip(pixels.reshape(len(labels), -1), labels, strict=True)
    return "".join(
        f"{y + 1} " + " ".join(f"{i}:{v:.4f}" for i, v in enumerate(x, 1)) + " \n" for x, y in rows
    ).encode()


def test_usps(fetched):
    arrays = small_arrays(image_shape=(16, 16))
    packed = [
        bz2.compress(usps_lines(arrays[f"x_{part}"] / 127.5 - 1, arrays[f"y_{part}"]))
        for part in ("train", "test")
    ]
    folder = fetched("usps", *packed)
    data = load_dataset("usps")
    assert_sound(data)
    assert data.task.image_shape == (16, 16, 1)
    assert data.class_names == ("0", "1", "2")
    np.testing.assert_allclose(data.x_test, arrays["x_test"].reshape(30, -1) / 255, atol=1e-4)
    np.testing.assert_array_equal(data.y_test, arrays["y_test"])
    assert_same(data, load_dataset(str(folder)))
    huge = b"1 99999999999999:0.5", b"1 1:" + b"5." * 1000
    for text in (b"1 1:red", *huge):
        (folder / "usps.bz2").write_bytes(bz2.compress(text))
        assert "usps.bz2: cannot be read" in fault_of(folder)
        assert len(fault_of(folder)) < 400 + len(str(folder))
    for damaged in (b"", packed[0][:40]):
        (folder / "usps.bz2").write_bytes(damaged)
        assert "usps.bz2: cannot be read" in fault_of(folder)
    (folder / "usps.bz2").unlink()
    assert "usps.bz2: cannot be read (No such file or directory)" in fault_of(folder)


def cifar_files():
    """Records of 10 + 30 pictures in six files, and the arrays."""
    arrays = small_arrays(n_train=50, n_test=30, n_classes=10, image_shape=(3, 32, 32))
    records = {
        part: np.column_stack([arrays[f"y_{part}"], arrays[f"x_{part}"].reshape(-1, 3072)])
        for part in ("train", "test")
    }
    files = {
        f"data_batch_{i + 1}.bin": records["train"][10 * i : 10 * i + 10].astype(np.uint8).tobytes()
        for i in range(5)
    }
    return arrays, files | {"test_batch.bin": records["test"].astype(np.uint8).tobytes()}


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_cifar10(fetched, npz, tmp_path):
    arrays, files = cifar_files()
    folder = fetched("cifar10", packed(files))
    data = load_dataset("cifar10")
    assert_sound(data)
    assert data.task.image_shape == (32, 32, 3)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert_same(data, load_dataset(f"{npz(**arrays)}[channels=first]"))
    assert_same(data, load_dataset(str(folder)))
    inner = tmp_path / "unpacked" / "cifar-10-batches-bin"
    inner.mkdir(parents=True)
    for name, content in files.items():
        (inner / name).write_bytes(content)
    assert_same(data, load_dataset(str(inner)))
    assert_same(data, load_dataset(str(inner.parent)))
    (inner / "test_batch.bin").write_bytes(b"123")
    assert "test_batch.bin has 3 bytes, expected a multiple of 3,073" in fault_of(inner)
    (inner / "test_batch.bin").unlink()
    assert "test_batch.bin: cannot be read (No such file or directory)" in fault_of(inner)


def test_faults_of_cifar10(tmp_path):
    _, files = cifar_files()
    archive = tmp_path / "cifar-10-binary.tar.gz"
    whole = packed(files)
    for data in (b"", b"text", whole[: len(whole) // 2]):
        archive.write_bytes(data)
        assert "cifar-10-binary.tar.gz: " in fault_of(tmp_path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1  # in the midst of a picture, which is stored as it is
    archive.write_bytes(flipped)
    assert "cifar-10-binary.tar.gz: cannot be read (CRC check failed" in fault_of(tmp_path)
    archive.write_bytes(packed({k: v for k, v in files.items() if k != "data_batch_2.bin"}))
    assert "found no cifar-10-batches-bin/data_batch_2.bin in it" in fault_of(tmp_path)
    archive.write_bytes(packed(files | {"test_batch.bin": b"\x0a" + bytes(3072)}))
    assert "found the label 10, expected 0 to 9" in fault_of(tmp_path)


@pytest.mark.parametrize("name", ["cifar-10-batches-py/data_batch_1", "cifar-10-python.tar.gz", "data_batch_1"])  # fmt: skip
def test_pickles_of_cifar10_are_not_read(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\x80")
    assert "found CIFAR-10 as pickles, which can run any program" in fault_of(tmp_path)


def test_a_folder_of_torchvisions_says_which_one_is_meant(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"")
    assert fault_of(tmp_path).endswith(f"(did you mean {raw.parent}?)")
