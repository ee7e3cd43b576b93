"""Datasets from .npz files and from folders of IDX files, and each fault by its message."""

from __future__ import annotations

import gzip
import struct
import zipfile

import numpy as np
import pytest
from making import assert_same, assert_sound, fault_of, small_arrays

from fastadv.datasets import Dataset, load_dataset, mnist_folder
from fastadv.errors import InputError
from fastadv.task import Task

# .npz


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f8"])
@pytest.mark.parametrize("image_shape", [(4, 3), (4, 3, 1), (4, 3, 2)])
def test_npz(npz, dtype, image_shape):
    sizes = {"n_val": 12, "image_shape": image_shape, "dtype": dtype}
    dataset = load_dataset(str(npz(sizes=sizes)))
    arrays = small_arrays(**sizes)
    assert_sound(dataset)
    assert dataset.task == Task((4, 3, (*image_shape, 1)[2]), 3)
    for part in ("train", "val", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        scaled = x.astype(np.float32) / np.float32(255 if dtype == np.uint8 else 1)
        np.testing.assert_array_equal(getattr(dataset, f"x_{part}"), scaled.reshape(len(x), -1))
        np.testing.assert_array_equal(getattr(dataset, f"y_{part}"), y)


def test_without_validation_images_one_in_twelve_is_held_out(npz):
    dataset = load_dataset(str(npz(sizes={"n_train": 72})))
    assert np.bincount(dataset.y_val).tolist() == [2, 2, 2]
    assert np.bincount(dataset.y_train).tolist() == [22, 22, 22]
    x_train = small_arrays(n_train=72)["x_train"].reshape(72, -1)
    place = {row.tobytes(): index for index, row in enumerate(x_train)}  # no duplicates here
    rows = [
        [place[row.tobytes()] for row in np.rint(x * 255).astype(np.uint8)]
        for x in (dataset.x_train, dataset.x_val)
    ]
    assert rows[0] == sorted(rows[0])
    assert sorted(rows[0] + rows[1]) == list(range(72))


def test_whole_numbers_may_be_floats(npz):
    labels = (np.arange(60) % 3).astype(np.float64)
    assert load_dataset(str(npz(y_train=labels))).y_train.dtype == np.int64


def test_fingerprint_is_of_the_data(npz):
    one = load_dataset(str(npz("one.npz")))
    copy = load_dataset(str(npz("copy.npz")))
    changed = small_arrays()["x_test"]
    changed[0, 0, 0] ^= 1
    other = load_dataset(str(npz("one.npz", x_test=changed)))
    assert one.fingerprint == copy.fingerprint
    assert one.name == other.name
    assert one.fingerprint != other.fingerprint
    assert load_dataset(f"{other.name}[train=10]").fingerprint != other.fingerprint


X, Y = small_arrays()["x_train"], small_arrays()["y_train"]


def with_first(array, value):
    array = array.copy()
    array.flat[0] = value
    return array


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"x_test": None}, "found x_train, y_train, y_test, expected x_test too"),
        ({"x_val": X}, "expected y_val too"),
        ({"y_val": Y}, "expected x_val too"),
        ({"x_train": X.astype(object)}, "found a pickled object array as x_train, expected plain"),
        ({"x_train": with_first(X / 255, np.nan)}, "train images: found NaN, expected floats in"),
        ({"x_train": with_first(X / 255, np.inf)}, "found values from 0.0 to inf, expected floats"),
        (
            {"x_test": X[:30] / 1.0},
            "test images: found values from 0.0 to 255.0, expected floats in",
        ),
        ({"x_train": X / 255 - 0.5}, "train images: found values from -0.5 to 0.5, expected"),
        ({"x_train": X.astype(int)}, "found int64, expected uint8 or floats in [0, 1]"),
        ({"x_train": X > 9}, "found bool, expected uint8 or floats in [0, 1]"),
        ({"x_train": X.reshape(60, 12)}, "found (60, 12), expected shape (n, H, W) or (n, H, W,"),
        ({"x_train": np.uint8(3)}, "train images: found (), expected shape (n, H, W)"),
        ({"x_train": X.astype("M8[s]")}, "train images: found datetime64[s], expected uint8"),
        (
            {"x_train": X[:0], "y_train": Y[:0]},
            "train images: found (0, 4, 3), expected some images",
        ),
        ({"x_test": X[:, :0][:30]}, "test images: found (30, 0, 3), expected some images"),
        ({"y_train": Y[:59]}, "train labels: found shape (59,), expected (60,)"),
        ({"y_train": np.eye(3)[Y]}, "train labels: found shape (60, 3), expected (60,)"),
        ({"y_test": with_first(Y[:30], -1)}, "test labels: found -1, expected whole numbers"),
        ({"y_train": with_first(Y / 1.0, 0.5)}, "train labels: found 0.5, expected whole numbers"),
        ({"y_train": with_first(Y / 1.0, np.nan)}, "train labels: found nan, expected whole"),
        ({"y_train": with_first(Y / 1.0, 1e300)}, "train labels: found 1e+300, expected whole"),
        ({"y_train": with_first(Y.astype("u8"), 2**64 - 1)}, "train labels: found 1.84467e+19"),
        ({"y_train": Y.astype(bytes)}, "train labels: found dtype |S21, expected whole numbers"),
        (
            {"y_train": np.where(Y == 2, 1, Y).astype(str), "y_test": Y[:30].astype(str)},
            "no training row is of class 2, and 10 test rows are",
        ),
        ({"y_train": Y * 0}, "found one class of training images, expected two or more"),
        ({"x_test": X[:30, :, :2]}, "found images of train 4x3x1, test 4x2x1, expected one shape"),
        (
            {"x_train": X[:11], "y_train": Y[:11]},
            "found 11 training images of 3 classes and none for validation, expected 12 or",
        ),
    ],
)
def test_faults_of_npz(npz, changes, fault):
    path = npz(**changes)
    message = fault_of(path)
    assert message.startswith(f"{path}: ")
    assert fault in message


def test_files_that_are_no_npz(tmp_path, npz):
    good = npz().read_bytes()
    np.save(tmp_path / "one.npy", X)
    path = tmp_path / "bad.npz"
    for data in (b"", b"text", good[: len(good) // 2], (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(data)
        assert fault_of(path).startswith(f"{path}: found a file of another kind, expected a .npz")

    middle = good.index(b"x_train.npy") + 400  # inside the pixels: a wrong checksum
    path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    assert fault_of(path).startswith(f"{path}: x_train cannot be read (Bad CRC-32")

    with zipfile.ZipFile(path, "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", b"not an array")
    assert "x_train cannot be read (it is no array in NumPy's form)" in fault_of(path)


def test_a_header_that_claims_too_much(tmp_path):
    np.savez(tmp_path / "bad.npz", **small_arrays())
    with zipfile.ZipFile(tmp_path / "bad.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    old = b"(60, 4, 3), }" + b" " * 20
    assert old in members["x_train.npy"]
    new = b"(99999999999999, 4, 3), }".ljust(len(old))
    members["x_train.npy"] = members["x_train.npy"].replace(old, new)
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert "bad.npz: x_train cannot be read (" in fault_of(tmp_path / "bad.npz")


# Folders of IDX files


def write_idx_folder(folder, arrays):
    names = {
        "x_train": "train-images-idx3-ubyte.gz", "y_train": "train-labels-idx1-ubyte",
        "x_test": "t10k-images.idx3-ubyte", "y_test": "test-labels-idx1-ubyte.gz",
    }  # fmt: skip
    for key, array in arrays.items():
        data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        data += array.astype(np.uint8).tobytes()
        (folder / names[key]).write_bytes(gzip.compress(data) if ".gz" in names[key] else data)


def test_folder_gives_what_npz_gives(tmp_path, npz):
    write_idx_folder(tmp_path, small_arrays())
    dataset = load_dataset(f"{tmp_path}[classes=2-0]")
    assert dataset.name == f"{tmp_path}[classes=2-0]"
    assert_sound(dataset)
    assert_same(dataset, load_dataset(f"{npz()}[classes=2-0]"))


def test_folder_with_three_files(tmp_path):
    write_idx_folder(tmp_path, small_arrays())
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    message = fault_of(tmp_path)
    assert message.startswith(f"{tmp_path}: found train-images-idx3-ubyte.gz, t10k-images")
    assert "missing: train labels" in message


def test_folder_with_labels_in_the_place_of_images(tmp_path):
    arrays = small_arrays()
    write_idx_folder(tmp_path, arrays | {"x_test": arrays["y_test"]})
    assert f"{tmp_path}: test images: found (30,), expected shape (n, H, W)" in fault_of(tmp_path)


# What is not there is drawn


def test_without_a_part_for_tests_one_image_in_five_is_drawn_in_order(npz):
    whole = small_arrays(n_train=120, n_classes=4)
    path = npz("half.npz", sizes={"n_train": 120, "n_classes": 4}, x_test=None, y_test=None)
    data = load_dataset(str(path))
    assert [len(data.y_train), len(data.y_val), len(data.y_test)] == [88, 8, 24]
    assert np.bincount(data.y_test).tolist() == [6, 6, 6, 6]
    assert data.notes[-1] == (
        "no part for tests is there: 24 of 120 rows were drawn for it, in the proportions of the "
        "classes"
    )
    order = {image.tobytes(): i for i, image in enumerate(whole["x_train"])}
    rows = {}
    for part in ("train", "val", "test"):
        images = np.rint(getattr(data, f"x_{part}") * 255).astype(np.uint8)
        rows[part] = [order[image.tobytes()] for image in images]
        assert rows[part] == sorted(rows[part])
        np.testing.assert_array_equal(getattr(data, f"y_{part}"), whole["y_train"][rows[part]])
    assert sorted(row for part in rows.values() for row in part) == list(range(120))
    assert data.fingerprint == load_dataset(str(path)).fingerprint


def test_a_class_of_one_row_cannot_be_split(npz):
    labels = np.arange(60) % 3
    labels[-1] = 7
    path = npz(x_test=None, y_test=None, y_train=labels)
    assert "found one row of class 7, expected two or more, one to train on" in fault_of(path)
    labels[-2] = 7
    np.savez(path, **(small_arrays() | {"y_train": labels}))
    assert load_dataset(f"{path}[classes=0-1-2]").task.n_classes == 3


@pytest.mark.parametrize("counts", [(2, 40), (2, 2, 2, 2, 60), (5, 5)])
def test_each_class_is_in_both_parts_of_a_split(npz, counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(labels), 4, 3)).astype(np.uint8)
    path = npz(x_test=None, y_test=None, x_train=images, y_train=labels)
    if len(labels) < 15:  # too few are left to hold some out for validation
        assert "expected 12 or more" in fault_of(path)
        return
    data = load_dataset(str(path))
    assert np.bincount(data.y_train).min() >= 1
    assert np.bincount(data.y_test).min() >= 1


@pytest.mark.parametrize(
    ("labels", "wanted", "names"),
    [
        (["7", "3"], [7, 3], ("3", "7")),
        (["1.0", "0.0"], [1, 0], ("0", "1")),
        (["-1", "+1"], [0, 1], ("-1", "+1")),
        (["10.5", "9"], [1, 0], ("9", "10.5")),
        (["dog", "cat"], [1, 0], ("cat", "dog")),
        (["dog", "1"], [1, 0], ("1", "dog")),
        (["nan", "1"], [1, 0], ("1", "nan")),
    ],
)
def test_texts_as_labels(npz, labels, wanted, names):
    y = np.array(labels * 30)
    data = load_dataset(str(npz(y_train=y, y_test=y[:30])))
    assert data.class_names == names
    np.testing.assert_array_equal(data.y_test, np.argsort(np.argsort(wanted))[np.arange(30) % 2])


def test_a_dataset_of_arrays(npz):
    arrays = small_arrays()
    arrays |= {key: arrays[key].astype(str) for key in ("y_train", "y_test")}
    loaded = load_dataset(str(npz(**arrays)))
    x, y, *test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    made = Dataset.from_arrays(x, y, x_test=test[0], y_test=test[1].astype(object))
    assert_same(made, loaded)
    assert made.name == "arrays"
    half = Dataset.from_arrays(x / 255, y.astype(int), class_names=("a", "b", "c"))
    assert half.class_names == ("a", "b", "c")
    assert "12 of 60 rows were drawn" in half.notes[-1]
    with pytest.raises(InputError, match="arrays: give both x_test and y_test, or neither"):
        Dataset.from_arrays(x, y, x_test=x)
    with pytest.raises(InputError, match="expected shape"):
        Dataset.from_arrays(x[0, 0], y)


def test_digits():
    data = load_dataset("digits")
    assert_sound(data)
    assert data.task.image_shape == (8, 8, 1)
    assert [len(data.y_train), len(data.y_val), len(data.y_test)] == [1319, 119, 359]
    assert data.x_train.max() == 1
    assert np.unique(data.x_train * 16).tolist() == list(range(17))


# What does not fit


def test_what_does_not_fit_into_memory_is_not_read(npz, tmp_path, monkeypatch):
    from fastadv.datasets import memory

    path = npz()
    (tmp_path / "some.csv").write_text("label,a\n" + "1,2\n" * 500)
    monkeypatch.setattr(memory, "total_memory", lambda: 500)
    says = "of memory, and this machine has 500 bytes; keep fewer rows of it"
    assert says in fault_of(path)
    assert says in fault_of(f"{tmp_path / 'some.csv'}[shape=1x1]")
    assert says in fault_of(mnist_folder())


def test_a_pickle_is_not_read(tmp_path):
    (tmp_path / "data.pkl").write_bytes(b"")
    assert "data.pkl: pickles can run any program" in fault_of(tmp_path / "data.pkl")
