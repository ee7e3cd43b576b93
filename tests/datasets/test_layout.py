"""Channels first or last, and the value of white: read right, stated, or refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
from making import assert_same, assert_sound, fault_of, small_arrays

from fastadv import make_attack
from fastadv.datasets import load_dataset
from fastadv.datasets.layout import channels_last
from fastadv.errors import InputError
from fastadv.task import Task


def first(arrays):
    """Return the same images (n, C, H, W)."""
    return {key: a.transpose(0, 3, 1, 2) if a.ndim == 4 else a for key, a in arrays.items()}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channels_first_are_brought_behind_and_said(npz, channels, dtype):
    arrays = small_arrays(n_val=12, image_shape=(8, 7, channels), dtype=dtype)
    last, turned = (
        load_dataset(str(npz(**arrays))),
        load_dataset(str(npz("first.npz", **first(arrays)))),
    )
    assert_sound(turned)
    assert_same(turned, last)
    assert turned.task == last.task == Task((8, 7, channels), 3)
    assert last.notes == ()
    (note,) = turned.notes
    assert f"train (60, {channels}, 8, 7), val (12, {channels}, 8, 7), test" in note
    assert f"channels first: 8 x 7 pixels, {channels} channel" in note
    assert note in repr(turned)
    stated = load_dataset(f"{npz('first.npz', **first(arrays))}[channels=first]")
    assert_same(stated, last)
    assert (stated.notes, stated.name[-16:]) == ((), "[channels=first]")


def test_parts_in_different_layouts(npz):
    arrays = small_arrays(image_shape=(8, 7, 3))
    mixed = arrays | {"x_test": first(arrays)["x_test"]}
    dataset = load_dataset(str(npz(**mixed)))
    assert_same(dataset, load_dataset(str(npz(**arrays))))
    assert dataset.notes[0].startswith("test (30, 3, 8, 7) read as channels first")


@pytest.mark.parametrize(
    "shape", [(3, 32, 3), (1, 32, 3), (4, 9, 4), (13, 64, 64), (2, 28, 28), (64, 64, 13)]
)
def test_what_may_be_both_or_neither_is_refused_until_it_is_stated(npz, shape):
    arrays = small_arrays(n_train=15, n_test=3, image_shape=shape)
    a, b, c = shape
    message = fault_of(npz(**arrays))
    assert f"say which: {a} x {b} pixels of {c} channels with channels=last, " in message
    assert f"{b} x {c} pixels of {a} with channels=first" in message
    dataset = load_dataset(f"{npz(**arrays)}[channels=first,train=6]")
    assert dataset.task.image_shape == (b, c, a)
    assert dataset.name.endswith("[channels=first,train=6]")
    image = dataset.x_test[0].reshape(b, c, a).transpose(2, 0, 1)
    np.testing.assert_array_equal(image, arrays["x_test"][0].astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    "shape",
    [(4, 3, 1), (4, 3, 2), (3, 3, 3), (1, 9, 1), (9, 1, 1), (28, 28, 2), (2, 2, 4), (3, 9, 1)],
)
def test_small_images_are_channels_last_as_documented(shape):
    images = np.zeros((5, *shape), np.uint8)
    out, was_first = channels_last(images, None, "x")
    assert not was_first
    assert out.shape == images.shape


def test_channels_of_images_without_any_and_of_mnist(npz):
    assert "found (60, 4, 3), which has no channels to be last" in fault_of(
        f"{npz()}[channels=last]"
    )
    assert "channels has to be one of first, last or none, got 'frist'" in fault_of(
        f"{npz()}[channels=frist]"
    )
    for parameter in ("channels=first", "range=255", "prefix=emnist"):
        assert fault_of(f"mnist[{parameter}]").startswith("mnist has no parameter ")
    assert "some.npz has no parameter 'prefix' (it takes: channels, range, classes," in fault_of(
        f"{npz()}[prefix=x]"
    )


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (4, 9, 5), (13, 64, 64), (2, 28, 28)])
def test_a_task_with_its_channels_first_is_refused_in_both_layouts(shape):
    with pytest.raises(InputError) as caught:
        Task(shape, 10)
    message = str(caught.value)
    assert "\n" not in message
    assert "(height, width, channels)" in message
    assert "(channels, height, width)" in message
    assert f"({shape[1]}, {shape[2]}, {shape[0]}) here" in message


@pytest.mark.parametrize(
    "shape",
    [
        (28, 28),
        (28, 28, 1),
        (32, 32, 3),
        (1, 784, 1),
        (784, 1, 1),
        (1, 1, 784),
        (4, 3, 2),
        (64, 64, 13),
        (2, 2, 8),
        (1, 9),
    ],
)
def test_other_tasks_are_taken_as_they_are(shape):
    assert Task(shape, 10).n_features == np.prod(shape)


@pytest.mark.compiled
def test_square_does_as_much_harm_on_either_layout(npz):
    from fastadv import MLPClassifier

    mnist = load_dataset("mnist[train=1000,val=100,test=200]")
    arrays = {
        f"{letter}_{part}": getattr(mnist, f"{letter}_{part}")
        for letter in "xy"
        for part in ("train", "val", "test")
    }
    left = []
    for name, shape in (("last", (-1, 28, 28, 1)), ("first", (-1, 1, 28, 28))):
        shaped = {key: a.reshape(shape) if key[0] == "x" else a for key, a in arrays.items()}
        data = load_dataset(str(npz(f"{name}.npz", **shaped)))
        model = MLPClassifier((16,), max_iter=3).fit(data.x_train, data.y_train)
        found = make_attack("square[queries=30]").perturb(
            model, data.x_test, data.y_test, task=data.task
        )
        left.append(found.success.tolist())
    assert left[0] == left[1]
    assert any(left[0])


# -- the value of white ------------------------------------------------------------------------


def test_bytes_of_0_and_1_are_refused_until_their_range_is_stated(npz):
    arrays = small_arrays()
    bits = {key: (a > 127).astype(np.uint8) if key[0] == "x" else a for key, a in arrays.items()}
    message = fault_of(npz(**bits))
    assert "train images: found bytes from 0 to 1, which are black as shares of 255" in message
    assert "state the value of white in brackets: range=1" in message
    dataset = load_dataset(f"{npz(**bits)}[range=1]")
    assert_sound(dataset)
    assert set(np.unique(dataset.x_train)) == {0.0, 1.0}
    dark = load_dataset(f"{npz(**bits)}[range=255]")
    np.testing.assert_array_equal(dark.x_train, dataset.x_train / np.float32(255))
    only_test = arrays | {"x_test": bits["x_test"]}
    assert "test images: found bytes from 0 to 1" in fault_of(npz(**only_test))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.int32, np.uint16])
def test_a_stated_range(npz, dtype):
    arrays = small_arrays()
    levels = {key: (a // 16).astype(dtype) if key[0] == "x" else a for key, a in arrays.items()}
    dataset = load_dataset(f"{npz(**levels)}[range=15]")
    assert_sound(dataset)
    wanted = levels["x_test"].reshape(30, -1).astype(np.float32) / np.float32(15)
    np.testing.assert_array_equal(dataset.x_test, wanted)
    assert "found values from 0" in fault_of(f"{npz(**levels)}[range=7]")
    assert "in [0, 7]" in fault_of(f"{npz(**levels)}[range=7]")


@pytest.mark.parametrize(("white", "dtype"), [(16, np.uint8), (1 / 255, np.float64)])
def test_dark_images_are_said_to_be_dark(npz, white, dtype):
    arrays = small_arrays()
    dim = {
        key: (a / 255 * white).round(9).astype(dtype) if key[0] == "x" else a
        for key, a in arrays.items()
    }
    (note,) = load_dataset(str(npz(**dim))).notes
    brightest = dim["x_train"].max()
    assert f"if {brightest} is white, state it in brackets: range={brightest}" in note
    stated = load_dataset(f"{npz(**dim)}[range={brightest}]")
    assert (stated.notes, stated.x_train.max()) == ((), 1.0)


def test_a_value_just_above_1_is_told_from_1(npz):
    images = small_arrays(dtype=np.float32)["x_train"]
    images.flat[5] = np.nextafter(np.float32(1), np.float32(2))
    message = fault_of(npz(x_train=images))
    assert "found values from 0.0 to 1.0000001, expected floats in [0, 1]" in message


# -- names that are paths ----------------------------------------------------------------------


def test_brackets_in_a_path(npz, tmp_path):
    (tmp_path / "runs[1]").mkdir()
    plain = load_dataset(str(npz()))
    for name in ("runs[1]/some.npz", "a[b].npz", "a[b.npz", "c]d.npz", "x[train=9]"):
        path = npz(name) if name.endswith(".npz") else npz("x.npz").rename(tmp_path / name)
        whole = load_dataset(str(path))
        assert_same(whole, plain)
        assert whole.name == str(path)
        narrowed = load_dataset(f"{path}[classes=2-0,train=10]")
        assert narrowed.name == f"{path}[classes=2-0,train=10]"
        assert len(narrowed.y_train) == 10
        assert_same(load_dataset(narrowed.name), narrowed)
        assert "no parameter 'tran'" in fault_of(f"{path}[tran=3]")
    assert "there is no file or folder" in fault_of(f"{tmp_path}/no[1]/some.npz")


@pytest.mark.parametrize("name", ["\udcff.npz", "/tmp/\udcff", "\udce4[train=3]"])
def test_a_name_that_is_not_utf_8_is_one_printable_line(name):
    message = fault_of(name)
    assert "is not UTF-8" in message
    assert message.isascii()
