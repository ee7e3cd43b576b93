"""The IDX reader: round trips, and each fault by its message."""

from __future__ import annotations

import gzip
import os
import re
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastadv.datasets import load_dataset, mnist_folder, shipped, verify_mnist
from fastadv.datasets.idx import find_idx_files, read_idx
from fastadv.errors import InputError

ROLES = {("train", "images"), ("train", "labels"), ("test", "images"), ("test", "labels")}


def idx_bytes(array, dtype_code=0x08):
    header = struct.pack(f">HBB{array.ndim}I", 0, dtype_code, array.ndim, *array.shape)
    return header + array.tobytes()


def fault_of(path):
    """Return the message of the fault, which has to be one line that names the file."""
    with pytest.raises(InputError) as caught:
        read_idx(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "expected" in message
    return message


SHAPES = st.sampled_from([1, 3, 4]).flatmap(
    lambda n: hnp.array_shapes(min_dims=n, max_dims=n, min_side=0, max_side=5)
)


@given(array=hnp.arrays(np.uint8, SHAPES), zipped=st.booleans(), misnamed=st.booleans())
def test_round_trip(array, zipped, misnamed):
    data = idx_bytes(array)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.gz" if zipped != misnamed else "a")
        path.write_bytes(gzip.compress(data) if zipped else data)
        read = read_idx(path)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


def test_a_gzip_file_of_two_members_is_one_stream(tmp_path):
    data = idx_bytes(np.arange(6, dtype=np.uint8))
    path = tmp_path / "labels"
    path.write_bytes(gzip.compress(data[:7]) + gzip.compress(data[7:]))
    np.testing.assert_array_equal(read_idx(path), np.arange(6))


IMAGES = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "too short: found 0 bytes, expected an IDX header"),
        (b"\x00\x00\x08", "too short: found 3 bytes, expected an IDX header"),
        (IMAGES[:10], "too short: found 10 bytes, expected a header of 16"),
        (IMAGES[:-1], "too short: found 11 bytes of data, expected 12 for shape 3x2x2"),
        (IMAGES + b"\0", "too long: found 13 bytes of data, expected 12 for shape 3x2x2"),
        (b"\x89PNG" + IMAGES, "found magic number 0x89504e47, expected 0x00000801 (labels)"),
        (b"\x03\x08\x00\x00" + IMAGES[4:], "found magic number 0x03080000"),
        (idx_bytes(np.zeros(4, np.uint8), 0x0D), "found dtype code 0x0d (32-bit float)"),
        (idx_bytes(np.zeros(4, np.uint8), 0x07), "0x07 (unknown), expected 0x08 (unsigned byte)"),
        (idx_bytes(np.zeros((2, 2), np.uint8)), "found 2 dimensions, expected 1 (labels), 3 or 4"),
        (idx_bytes(np.zeros((1,) * 5, np.uint8)), "found 5 dimensions"),
        # A header that claims far more than could be allocated.
        (struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3), "too short: found 0 bytes of data"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_faults_of_the_content(tmp_path, data, fault, zipped):
    path = tmp_path / "some-file"
    path.write_bytes(gzip.compress(data) if zipped else data)
    if zipped:  # which is not unpacked any further than it has to be
        fault = fault.replace("long: found 13 bytes", "long: found more bytes")
        fault = fault.replace("found 0 bytes of data", "found at most")
    assert fault in fault_of(path)


def test_a_gzip_bomb_is_unpacked_as_far_as_its_header_says(tmp_path):
    """100 KB held 202 MiB; a header that claims more than deflate can pack is refused at once."""
    path = tmp_path / "images.gz"
    bomb = gzip.compress(idx_bytes(np.zeros((2, 2, 2), np.uint8)) + bytes(100 << 20), 9)
    path.write_bytes(bomb)
    tracemalloc.start()
    try:
        assert "too long: found more bytes of data, expected 8" in fault_of(path)
        header = struct.pack(">HBB3I", 0, 8, 3, 1 << 20, 28, 28)
        path.write_bytes(gzip.compress(header + bytes(1000)))
        assert "too short: found at most" in fault_of(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_what_is_no_file_is_one_line(tmp_path):
    """A FIFO was waited for, for ever."""
    write(tmp_path)
    names = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
    for name in names:
        (tmp_path / f"{name}.gz").unlink()
    fifo, link = (tmp_path / name for name in names)
    for path in (fifo, link):
        path.unlink()
    os.mkfifo(fifo)
    link.symlink_to(link.name)
    assert fault_of(fifo) == f"{fifo}: cannot be read (it is no regular file), expected an IDX file"
    assert (
        fault_of(link)
        == f"{link}: cannot be read (Too many levels of symbolic links), expected an IDX file"
    )
    assert (
        fault_of(Path("/dev/zero"))
        == "/dev/zero: cannot be read (it is no regular file), expected an IDX file"
    )
    with pytest.raises(InputError, match="train-images-idx3-ubyte: cannot be read"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(
    "damage",
    [
        lambda z: z[:5],
        lambda z: z[:-1],
        lambda z: z[: len(z) // 2],
        lambda z: z[:12] + bytes([z[12] ^ 0xFF]) + z[13:],
        lambda z: z[:-5] + bytes([z[-5] ^ 1]) + z[-4:],  # in the checksum's last byte
        lambda z: z + b"garbage",
    ],
)
def test_damaged_gzip(tmp_path, damage):
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(IMAGES)))
    assert "found a truncated or corrupt gzip file" in fault_of(path)


def test_absent_file(tmp_path):
    assert "found no such file, expected an IDX file" in fault_of(tmp_path / "nowhere")


def test_a_folder_in_the_place_of_a_file(tmp_path):
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))}: cannot be read"):
        read_idx(tmp_path)


def make_files(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(
    "pattern",
    [
        "{part}-{kind}-idx{d}-ubyte",
        "{part}-{kind}-idx{d}-ubyte.gz",
        "{part}-{kind}.idx{d}-ubyte",
        "emnist-digits-{part}-{kind}-idx{d}-ubyte.gz",
        "{part}-{kind}.idx",
        "{part}_{kind}.gz",
        "{part}-{kind}",
    ],
)
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_names_that_are_recognised(tmp_path, pattern, test):
    for part in ("train", test):
        for kind, d in (("images", 3), ("labels", 1)):
            make_files(tmp_path, pattern.format(part=part, kind=kind, d=d))
    make_files(tmp_path, "README.txt", "training-notes", "train-images.png")
    files = find_idx_files(tmp_path)
    assert set(files) == ROLES
    for (part, kind), path in files.items():
        assert kind in path.name
        assert ("train" if part == "train" else test) in path.name


def test_a_missing_file_is_named_beside_those_found(tmp_path):
    names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "test-images-idx3-ubyte"]
    make_files(tmp_path, *names)
    with pytest.raises(InputError) as caught:
        find_idx_files(tmp_path)
    found, missing = str(caught.value).split("missing: ")
    assert found.startswith(f"{tmp_path}: found {', '.join(names)}, expected four files")
    assert missing.startswith("test labels (t10k-labels-idx1-ubyte")
    assert "images" not in missing
    assert "\n" not in str(caught.value)


def test_two_candidates_for_one_role(tmp_path):
    make_files(tmp_path, "train-images-idx3-ubyte", "train-images.idx3-ubyte.gz")
    fault = "found train-images-idx3-ubyte, train-images.idx3-ubyte.gz, expected only one file of"
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}: {fault} train images")):
        find_idx_files(tmp_path)


def test_the_shipped_files_are_sound():
    checks = verify_mnist()
    assert [check.path.parent for check in checks] == [mnist_folder()] * 4
    assert all(check.ok and check.found == check.expected for check in checks)


def test_verify_and_load_notice_damage(tmp_path, monkeypatch):
    for name in shipped.MNIST_SHA256:
        (tmp_path / name).write_bytes((mnist_folder() / name).read_bytes())
    monkeypatch.setattr(shipped, "mnist_folder", lambda: tmp_path)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-1])
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    checks = {check.path.name: check for check in verify_mnist()}
    assert [name for name, check in checks.items() if not check.ok] == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
    assert checks["t10k-images-idx3-ubyte.gz"].found is None
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz: found no such file"):
        shipped.read_mnist()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"t10k-images.*: found SHA-256 e3b0c4\w+, expected 1a1a"):
        shipped.read_mnist()


# Folders as others leave them


def write(
    folder, prefix="", test="t10k", gz=True, plain=True, labels=("idx1-ubyte", 0x08), **arrays
):
    """Write four files; returns the arrays."""
    rng = np.random.default_rng(len(prefix))
    made = {
        "x_train": rng.integers(0, 256, (24, 5, 4)), "y_train": np.arange(24) % 3,
        "x_test": rng.integers(0, 256, (9, 5, 4)), "y_test": np.arange(9) % 3,
    } | arrays  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in made.items():
        part = "train" if key.endswith("train") else test
        kind, (form, code) = (
            ("images", ("idx3-ubyte", 0x08)) if key[0] == "x" else ("labels", labels)
        )
        data = idx_bytes(array.astype(">i4" if code == 0x0C else np.uint8), code)
        name = f"{prefix}{part}-{kind}-{form}"
        if plain:
            (folder / name).write_bytes(data)
        if gz:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    return made


def assert_read(spec, made):
    dataset = load_dataset(str(spec))
    np.testing.assert_array_equal(dataset.y_test, made["y_test"])
    scaled = made["x_test"].reshape(9, -1).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(dataset.x_test, scaled)
    return dataset


def test_each_file_plain_and_gzipped(tmp_path):
    made = write(tmp_path / "MNIST" / "raw")
    assert_read(tmp_path / "MNIST" / "raw", made)
    assert_read(tmp_path / "MNIST", made)  # the folder above, where torchvision's users look
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    assert_read(tmp_path / "MNIST" / "raw", made)
    write(tmp_path / "other", plain=False, y_test=np.zeros(9))
    for path in (tmp_path / "other").glob("t10k-labels*"):
        path.rename(tmp_path / "MNIST" / "raw" / path.name)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(
        idx_bytes(made["y_test"].astype(np.uint8))
    )
    with pytest.raises(
        InputError, match=r"found other data in t10k-labels-idx1-ubyte\.gz, expected"
    ):
        load_dataset(tmp_path / "MNIST" / "raw")


def test_one_of_several_datasets_in_a_folder_is_chosen_by_its_prefix(tmp_path):
    made = {name: write(tmp_path, f"emnist-{name}-", test="test") for name in ("letters", "digits")}
    message = dataset_fault(tmp_path)
    assert "found files of emnist-digits, emnist-letters; say which in brackets" in message
    assert "[prefix=emnist-digits]" in message
    for name, arrays in made.items():
        dataset = assert_read(f"{tmp_path}[prefix=emnist-{name}]", arrays)
        assert dataset.name == f"{tmp_path}[prefix=emnist-{name}]"
    both = write(tmp_path)
    assert_read(f"{tmp_path}[prefix=none]", both)
    assert "did you mean emnist-letters?" in dataset_fault(f"{tmp_path}[prefix=emnist-leters]")


def test_labels_of_qmnist(tmp_path):
    others = np.arange(7) + 100  # the writer and where the digit is from
    labels = {
        f"y_{part}": np.column_stack([np.arange(n) % 3, np.tile(others, (n, 1))])
        for part, n in (("train", 24), ("test", 9))
    }
    write(tmp_path, "qmnist-", test="test", labels=("idx2-int", 0x0C), **labels)
    rng = np.random.default_rng(len("qmnist-"))
    rng.integers(0, 256, (24, 5, 4))
    wanted = {"y_test": np.arange(9) % 3, "x_test": rng.integers(0, 256, (9, 5, 4))}
    assert assert_read(tmp_path, wanted).class_names == ("0", "1", "2")
    one_hot = {key: np.eye(3)[array[:, 0]] for key, array in labels.items()}
    write(tmp_path / "b", test="test", labels=("idx2-int", 0x0C), **one_hot)
    assert "found shape (24, 3), expected (n,), or (n, 8)" in dataset_fault(tmp_path / "b")
    whole = {key: array[:, 0] for key, array in labels.items()}
    write(tmp_path / "c", test="test", labels=("idx1-int", 0x0C), **whole)
    assert load_dataset(tmp_path / "c").y_test.tolist() == wanted["y_test"].tolist()


def dataset_fault(spec):
    with pytest.raises(InputError) as caught:
        load_dataset(str(spec))
    assert "\n" not in str(caught.value)
    return str(caught.value)
