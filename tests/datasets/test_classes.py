"""Classes are the labels that the training images have; they are numbered, and keep their names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from making import assert_same, assert_sound, fault_of, small_arrays

from fastadv.datasets import Dataset, load_dataset
from fastadv.datasets.dataset import ARRAYS
from fastadv.datasets.splits import stratified
from fastadv.errors import InputError
from fastadv.task import Task

LABELS = {
    "from_1": np.arange(1, 4), "gaps": np.array([0, 3, 8]), "large": np.array([7, 1000, 2**30]),
    "floats": np.array([1.0, 2.0, 9.0]),
}  # fmt: skip


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_in_a_file_are_numbered_and_named(npz, labels):
    arrays = small_arrays()
    written = {key: labels[arrays[key]] for key in ("y_train", "y_test")}
    dataset, plain = load_dataset(str(npz(**written))), load_dataset(str(npz("plain.npz")))
    assert_sound(dataset)
    assert_same(dataset, plain)
    assert dataset.task.n_classes == 3
    assert dataset.class_names == dataset.task.class_names == tuple(str(int(v)) for v in labels)


def test_two_of_them_by_their_names_in_the_order_given(npz):
    arrays = small_arrays()
    path = npz(**{key: LABELS["gaps"][arrays[key]] for key in ("y_train", "y_test")})
    dataset, plain = (
        load_dataset(f"{path}[classes=8-3]"),
        load_dataset(f"{npz('plain.npz')}[classes=2-1]"),
    )
    assert_same(dataset, plain)
    assert dataset.class_names == ("8", "3")
    assert "there is no class 1; the classes are 0, 3, 8" in fault_of(f"{path}[classes=1-3]")


def test_a_class_of_test_images_alone_is_named_with_what_to_do(npz):
    arrays = small_arrays()
    y_test = arrays["y_test"].copy()
    y_test[[4, 7]] = 9
    path = npz(y_test=y_test)
    message = fault_of(path)
    assert "no training row is of class 9, and 2 test rows are" in message
    remedy = message.partition("(of a file or a folder by ")[2].rstrip(")")
    assert len(load_dataset(f"{path}[{remedy}]").y_test) == 28


def test_more_labels_than_classes_can_be(npz):
    message = fault_of(npz(sizes={"n_train": 300}, y_train=np.arange(300)))
    assert "found 300 different labels of 300 training images, expected classes" in message


def test_the_only_image_of_a_class_is_not_held_out(npz):
    labels = np.array([0] * 30 + [1] * 29 + [2])
    for seed in range(3):  # wherever it stands
        mixed = np.random.default_rng(seed).permutation(labels)
        dataset = load_dataset(str(npz(y_train=mixed)))
        assert np.bincount(dataset.y_train).tolist()[2] == 1
        assert len(dataset.y_val) == 5
    few = np.concatenate([np.repeat(np.arange(12), 1), [0]])
    dataset = load_dataset(str(npz(sizes={"n_train": 13}, y_train=few, y_test=np.zeros(30, int))))
    assert dataset.y_val.tolist() == [0]
    message = fault_of(npz(sizes={"n_train": 12}, y_train=np.arange(12)))
    assert "found 12 training images of 12 classes and none for validation" in message


def test_what_has_to_be_left_is_left():
    labels = np.repeat(np.arange(5), [1, 1, 1, 1, 8])
    rows = stratified(labels, 6, np.random.default_rng(0), leave=1)
    assert labels[rows].tolist() == [4] * 6


# Made by hand


def made(y, names=(), task=None, **changes):
    rng = np.random.default_rng(0)
    x = rng.random((len(y), 12), dtype=np.float32)
    arrays = {
        f"{letter}_{part}": x if letter == "x" else y
        for letter in "xy"
        for part in ("train", "val", "test")
    }
    return Dataset(
        name="mine", **(arrays | changes), task=task or Task((4, 3), 2), class_names=names
    )


@pytest.mark.parametrize(
    ("labels", "given", "names"),
    [
        ([3, 8], (), ("3", "8")),
        ([3, 8], ("three", "eight"), ("three", "eight")),
        ([3, 8], tuple("0123456789"), ("3", "8")),
        ([1, 2, 3], ("a", "b", "c"), ("a", "b", "c")),
        ([0, 1, 2], ("a", "b", "c"), ("a", "b", "c")),
        ([-1, 1], (), ("-1", "1")),
        (["cat", "dog"], (), ("cat", "dog")),
    ],
)
def test_a_dataset_made_by_hand_numbers_any_labels(labels, given, names):
    columns = np.arange(10) % len(labels)
    dataset = made(np.array(labels)[columns], given)
    assert_sound(dataset)
    assert dataset.y_train.tolist() == columns.tolist()
    assert dataset.class_names == names
    assert dataset.task == Task((4, 3), len(labels))
    assert dataset.task.class_names == names


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"x_train": np.zeros((10, 12), np.uint8)}, "x_train is of uint8; images are floats in"),
        ({"x_val": np.zeros((10, 12), int)}, "x_val is of int64"),
        ({"x_test": np.full((10, 12), 255.0)}, "x_test: found values from 255.0 to 255.0"),
        ({"x_test": np.full((10, 12), np.nan)}, "x_test: found NaN"),
        ({"x_train": np.zeros((10, 4, 3))}, "x_train has shape (10, 4, 3); images of (4, 3, 1)"),
        ({"x_train": np.zeros((10, 13))}, "are rows of 12: shape (n, 12)"),
        ({"x_test": np.zeros((0, 12)), "y_test": np.zeros(0, int)}, "x_test is empty"),
        ({"y_val": np.arange(9)}, "y_val has shape (9,); 10 images have 10"),
        ({"y_test": np.arange(10) % 2 / 2}, "y_test holds fractions or NaN"),
        ({"y_test": np.arange(10) % 3}, "no training row is of class 2, and 3 test rows are"),
        ({"y_train": np.zeros(10, int)}, "found one class of training images"),
        ({"names": ("a", "b", "c"), "y_train": np.arange(10) % 2 + 5}, "3 class_names for 2"),
    ],
)  # fmt: skip
def test_faults_of_a_dataset_made_by_hand(changes, fault):
    with pytest.raises(InputError) as caught:
        made(np.arange(10) % 2, **changes)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_of_another_precision_or_order_are_converted():
    x = np.asfortranarray(np.random.default_rng(0).random((10, 12)))
    dataset = made(np.arange(10) % 2, x_train=x)
    assert_sound(dataset)
    np.testing.assert_array_equal(dataset.x_train, x.astype(np.float32))


def test_changed_arrays_have_another_fingerprint(npz):
    dataset = load_dataset(str(npz()))
    changed = replace(dataset, x_train=1 - dataset.x_train)
    assert changed.fingerprint != dataset.fingerprint
    same = replace(changed, **{key: getattr(changed, key) for key in ARRAYS})
    assert same.fingerprint == changed.fingerprint
    assert replace(changed, class_names=("a", "b", "c")).fingerprint != changed.fingerprint


def test_classes_by_their_names(npz):
    names = np.array(["T-shirt/top", "Shirt", "T", "shirt/top"])
    y = np.arange(60) % 4
    path = npz(y_train=names[y], y_test=names[y[:30]])
    data = load_dataset(f"{path}[classes=T-shirt/top-Shirt]")
    assert data.class_names == ("T-shirt/top", "Shirt")
    numbers = [sorted(names).index(name) for name in data.class_names]
    same = load_dataset(f"{path}[classes={numbers[0]}-{numbers[1]}]")
    assert data.name == same.name
    assert data.fingerprint == same.fingerprint
    assert load_dataset(f"{path}[classes=Shirt-T]").class_names == ("Shirt", "T")
    assert "there is no class Boot; the classes are Shirt, T, T-shirt/top, shirt/top" in fault_of(
        f"{path}[classes=Boot-T]"
    )
