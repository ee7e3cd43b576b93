"""Datasets: MNIST's figures, splits, narrowing and its faults, sharing."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import assert_same, assert_sound, fault_of

from fastadv.datasets import Dataset, load_dataset, mnist_folder, open_shared, read_idx, share
from fastadv.datasets.dataset import ARRAYS
from fastadv.datasets.splits import stratified
from fastadv.errors import InputError
from fastadv.task import Task


@pytest.fixture(scope="module")
def mnist():
    return load_dataset("mnist")


# MNIST


def test_mnist_is_mnist(mnist):
    assert_sound(mnist)
    assert mnist.name == "mnist"
    assert mnist.task == Task((28, 28, 1), 10)
    assert mnist.class_names == tuple("0123456789")
    assert [len(mnist.y_train), len(mnist.y_val), len(mnist.y_test)] == [55_000, 5_000, 10_000]
    assert mnist.y_test[0] == 7
    np.testing.assert_array_equal(
        np.bincount(mnist.y_test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    )
    np.testing.assert_array_equal(
        np.bincount(mnist.y_train) + np.bincount(mnist.y_val),
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    )
    raw = read_idx(mnist_folder() / "t10k-images-idx3-ubyte.gz").reshape(10_000, 784)
    np.testing.assert_array_equal(mnist.x_test, raw.astype(np.float32) / np.float32(255))


def test_validation_images_are_held_out_and_training_images_keep_their_order(mnist):
    images = read_idx(mnist_folder() / "train-images-idx3-ubyte.gz").reshape(60_000, 784)
    labels = read_idx(mnist_folder() / "train-labels-idx1-ubyte.gz")
    rows = {}
    # Both parts are in the order of the file, so that one pass finds each row's place in it.
    for part in ("train", "val"):
        x, y = getattr(mnist, f"x_{part}"), getattr(mnist, f"y_{part}")
        wanted = [row.tobytes() for row in np.rint(x * 255).astype(np.uint8)]
        rows[part] = []
        place = 0
        for image, label in zip(wanted, y, strict=True):
            while images[place].tobytes() != image or labels[place] != label:
                place += 1
            rows[part].append(place)
            place += 1
    together = np.sort(np.concatenate([rows["train"], rows["val"]]))
    np.testing.assert_array_equal(together, np.arange(60_000))


def test_validation_follows_the_class_shares(mnist):
    n_train, n_val = np.bincount(mnist.y_train), np.bincount(mnist.y_val)
    assert np.abs(n_val - (n_train + n_val) / 12).max() < 1


def test_the_same_again_and_the_same_figures_as_ever(mnist):
    again = load_dataset("mnist")
    assert_same(mnist, again)
    assert mnist.fingerprint == again.fingerprint
    # Pins the split: another one would make published figures irreproducible without a word.
    assert mnist.y_val[:20].tolist() == [6, 1, 2, 9, 1, 0, 4, 5, 2, 1, 9, 3, 0, 4, 0, 5, 1, 3, 3, 2]
    assert int(np.dot(mnist.y_val, np.arange(5_000)) % 1_000_003) == 389334


# Narrowing


def test_narrowed_to_two_classes(mnist):
    narrow = load_dataset("mnist[classes=7-1,train=100,val=500]")
    assert_sound(narrow)
    assert narrow.name == "mnist[classes=7-1,train=100,val=500]"
    assert narrow.class_names == ("7", "1")
    assert narrow.task == Task((28, 28, 1), 2)
    assert [len(narrow.y_train), len(narrow.y_val), len(narrow.y_test)] == [100, 500, 1028 + 1135]
    digits = mnist.y_test[np.isin(mnist.y_test, [7, 1])]
    np.testing.assert_array_equal(narrow.y_test, np.where(digits == 7, 0, 1))
    np.testing.assert_array_equal(narrow.x_test, mnist.x_test[np.isin(mnist.y_test, [7, 1])])
    share_of_7 = (mnist.y_train == 7).sum() / np.isin(mnist.y_train, [7, 1]).sum()
    assert abs((narrow.y_train == 0).sum() - 100 * share_of_7) < 1


def test_a_subset_is_stratified_and_from_its_own_pool(mnist):
    narrow = load_dataset("mnist[train=1000]")
    counts = np.bincount(narrow.y_train, minlength=10)
    assert np.abs(counts - 1000 * np.bincount(mnist.y_train) / 55_000).max() < 1
    pool = {row.tobytes() + bytes([y]) for row, y in zip(mnist.x_train, mnist.y_train, strict=True)}
    for row, y in zip(narrow.x_train, narrow.y_train, strict=True):
        assert row.tobytes() + bytes([y]) in pool
    assert_same(narrow, mnist, ["x_val", "y_val", "x_test", "y_test"])


def test_all_that_there_are_is_everything(mnist):
    assert_same(load_dataset("mnist[train=55000,val=5000,test=10000,split=3]"), mnist)


def test_parts_and_splits_are_drawn_on_their_own(npz):
    path = npz(sizes={"n_val": 30})
    plain = load_dataset(f"{path}[train=12,val=9]")
    others = load_dataset(f"{path}[train=12,val=6,test=6]")
    assert_same(plain, others, ["x_train", "y_train"])
    split = load_dataset(f"{path}[train=12,val=9,split=1]")
    for key in ("x_train", "x_val"):
        assert not np.array_equal(getattr(plain, key), getattr(split, key))
    assert_same(plain, split, ["x_test", "y_test"])
    assert_same(plain, load_dataset(f"{path}[train=12,val=9,split=0]"))


def test_the_pools_do_not_depend_on_the_split(npz):
    path = npz()  # without x_val, so that images are held out
    whole = "train=55,val=5,test=30"  # all that there are
    assert_same(load_dataset(str(path)), load_dataset(f"{path}[{whole},split=5]"))


def test_name_is_canonical(npz):
    path = npz()
    dataset = load_dataset(f" {path}[ split=1, test=6,classes = 2-0 , train=10]")
    assert dataset.name == f"{path}[classes=2-0,train=10,test=6,split=1]"
    again = load_dataset(dataset.name)
    assert_same(dataset, again)
    assert (again.name, again.fingerprint) == (dataset.name, dataset.fingerprint)


def test_a_rare_class_keeps_an_image(npz):
    labels = np.array([0] * 57 + [1, 2, 2])
    path = npz(sizes={"n_val": 6}, y_train=labels)
    for size in (3, 5, 20, 60):
        counts = np.bincount(load_dataset(f"{path}[train={size}]").y_train, minlength=3)
        assert counts.sum() == size
        assert counts.min() >= 1


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any),
    share=st.floats(0, 1),
    at_least=st.integers(0, 1),
)
def test_stratified(counts, share, at_least):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    present = np.count_nonzero(counts)
    size = max(round(share * len(labels)), present * at_least)
    rows = stratified(labels, size, np.random.default_rng(1), at_least=at_least)
    assert len(rows) == size
    assert np.all(np.diff(rows) > 0)
    drawn = np.bincount(labels[rows], minlength=len(counts))
    exact = np.array(counts) * size / len(labels)
    if at_least:
        assert np.all(drawn[np.array(counts) > 0] >= 1)
    else:
        assert np.abs(drawn - exact).max() < 1


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ("train=56", "train=56, but it has to be from 3 (one image a class) to 55 (all there are)"),
        ("train=0", "train=0, but it has to be from 3"),
        ("val=-1", "val=-1, but it has to be from 3"),
        ("test=2", "test=2, but it has to be from 3 (one image a class) to 30 (all there are)"),
        ("classes=0-1,test=21", "[classes=0-1]: test=21, but it has to be from 2"),
        ("classes=0-3", "there is no class 3; the classes are 0 to 2"),
        ("classes=0-1-0", "a class is repeated, expected each once; the classes are 0 to 2"),
        ("classes=1", "expected two classes or more, such as 7-1; the classes are 0 to 2"),
        ("classes=none", "expected two classes or more"),
        ("classes=a-b", "there is no class a; the classes are 0 to 2"),
        ("train=many", "train has to be a whole number, got 'many'"),
        ("split=-1", "split=-1, but it has to be 0 or more"),
        ("split=3", "split=3 is another draw, of train=, val= or test= images"),
        ("classes=0-2,split=3", "split=3 is another draw, of train="),
        ("tran=5", "no parameter 'tran'; did you mean train?"),
    ],
)
def test_faults_of_narrowing(npz, parameters, fault):
    path = npz()
    message = fault_of(f"{path}[{parameters}]")
    assert message.startswith(str(path))
    assert fault in message


def test_a_class_without_training_images_cannot_be_chosen(npz):
    path = npz(y_train=np.arange(60) % 2 * 2)
    assert "there is no train image of class 1" in fault_of(f"{path}[classes=0-1]")
    assert fault_of(path) == (
        f"{path}: no training row is of class 1, and 10 test rows are; leave them out (of a "
        "file or a folder by classes=0-2)"
    )
    assert load_dataset(f"{path}[classes=0-2]").task.n_classes == 2


def test_unknown_names():
    hint = (
        "Otherwise give a path: FILE.npz, FILE.csv, FILE.parquet, FOLDER/CLASS/*, FOLDER/*.bin, "
        "FOLDER/usps.bz2, FOLDER"
    )
    assert fault_of("mnits") == f"no dataset 'mnits'; did you mean mnist? {hint}"
    assert fault_of("xyz").startswith("no dataset 'xyz'; there is mnist, digits")
    assert fault_of("no/such") == "there is no file or folder no/such"
    assert fault_of("such.npz") == "there is no file or folder such.npz"


# The class, and sharing


def test_a_dataset_made_by_hand_has_a_fingerprint(npz):
    loaded = load_dataset(str(npz()))
    arrays = {key: getattr(loaded, key) for key in ARRAYS}
    made = [
        Dataset(name=name, **arrays, task=loaded.task, class_names=loaded.class_names)
        for name in ("a", "b")
    ]
    assert made[0].fingerprint == made[1].fingerprint
    arrays["y_val"] = (1 + arrays["y_val"]) % 3
    other = Dataset(name="a", **arrays, task=loaded.task, class_names=loaded.class_names)
    assert other.fingerprint != made[0].fingerprint
    with pytest.raises(FrozenInstanceError):
        other.name = "c"


def test_share_and_open(tmp_path, npz):
    dataset = load_dataset(f"{npz()}[classes=2-0,train=10]")
    share(dataset, tmp_path / "shared" / "one")
    opened = open_shared(tmp_path / "shared" / "one")
    assert_sound(opened)
    assert_same(dataset, opened)
    for name in ("name", "task", "class_names", "fingerprint"):
        assert getattr(opened, name) == getattr(dataset, name)
    assert type(opened.x_train) is np.ndarray
    assert opened.task.image_shape == (4, 3, 1)
    assert isinstance(opened.task.image_shape, tuple)

    opened.x_train[0, 0] = 0.125  # copy on write: the file stays as it is
    assert_same(open_shared(tmp_path / "shared" / "one"), dataset)


def test_open_shared_faults(tmp_path, npz):
    with pytest.raises(InputError, match="found no shared dataset there"):
        open_shared(tmp_path / "nowhere")
    share(load_dataset(str(npz())), tmp_path)
    (tmp_path / "x_val.npy").write_bytes(b"")
    with pytest.raises(InputError, match="found no shared dataset there"):
        open_shared(tmp_path)
    (tmp_path / "dataset.json").write_text('{"name": 3}')
    with pytest.raises(InputError, match=r"found no shared dataset there .*name"):
        open_shared(tmp_path)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x.npz", "~nobody-of-this-name/x[train=9]"])
def test_a_home_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match=r"^~nobody.*: there is no such home folder"):
        load_dataset(name)
