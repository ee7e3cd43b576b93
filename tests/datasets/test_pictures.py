"""Folders of pictures: what they are, and each fault of one in one line."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from making import assert_same, assert_sound, fault_of, small_arrays

from fastadv.datasets import load_dataset

Image = pytest.importorskip("PIL.Image")


def sorted_arrays(**sizes):
    """The small arrays class by class, as a folder is read."""
    arrays = small_arrays(**sizes)
    for part in {key[2:] for key in arrays}:
        order = np.argsort(arrays[f"y_{part}"], kind="stable")
        for letter in "xy":
            arrays[f"{letter}_{part}"] = arrays[f"{letter}_{part}"][order]
    return arrays


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes pictures to CLASS/NNN.png."""

    def write(name, x, y, names=None, suffix="png", mode=None):
        for i, (image, label) in enumerate(zip(x, y, strict=True)):
            inner = tmp_path / name / (names[label] if names else str(label))
            inner.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(image)
            (picture.convert(mode) if mode else picture).save(inner / f"{i:04}.{suffix}")
        return tmp_path / name

    return write


def test_train_and_test_are_what_the_same_arrays_are(folder, npz, tmp_path):
    arrays = sorted_arrays(n_val=12)
    for part in ("train", "val", "test"):
        folder(f"all/{part}", arrays[f"x_{part}"], arrays[f"y_{part}"])
    data = load_dataset(str(tmp_path / "all"))
    assert_sound(data)
    assert_same(data, load_dataset(str(npz(**arrays))))
    assert data.notes == ()


@pytest.mark.parametrize("suffix", ["png", "bmp", "pgm", "tif"])
def test_without_train_and_test_some_are_drawn(folder, npz, suffix):
    arrays = sorted_arrays()
    path = folder("one", arrays["x_train"], arrays["y_train"], suffix=suffix)
    wanted = load_dataset(str(npz(**arrays | {"x_test": None, "y_test": None})))
    data = load_dataset(str(path))
    assert_same(data, wanted)
    assert "12 of 60 rows were drawn" in data.notes[-1]


def test_classes_come_by_number_or_name_and_colours_stay(folder):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 5, 4, 3)).astype(np.uint8)
    data = load_dataset(str(folder("a", x, np.arange(60) % 3, ("10", "9", "2"))))
    assert data.class_names == ("2", "9", "10")
    assert data.task.image_shape == (5, 4, 3)
    named = load_dataset(str(folder("b", x, np.arange(60) % 3, ("owl", "Dog", "cat"))))
    assert named.class_names == ("Dog", "cat", "owl")
    owl = x[0].ravel()  # in whatever part it is
    for part in ("train", "val", "test"):
        found = np.all(np.rint(getattr(named, f"x_{part}") * 255) == owl, axis=1)
        assert getattr(named, f"y_{part}")[found].tolist() == [2] * np.count_nonzero(found)
    rows = sum(len(getattr(named, f"y_{part}")) for part in ("train", "val", "test"))
    assert rows == 60


def test_other_files_are_left_out_and_said(folder):
    arrays = sorted_arrays()
    path = folder("one", arrays["x_train"], arrays["y_train"])
    wanted = load_dataset(str(path))
    (path / "0" / ".DS_Store").write_bytes(b"")
    (path / ".git").mkdir()
    assert load_dataset(str(path)).notes == wanted.notes
    (path / "1" / "about.txt").write_text("digits")
    data = load_dataset(str(path))
    assert data.notes[0] == "files that are no pictures were left out: 1/about.txt"
    assert_same(data, wanted)


def replace(path, picture, name="1/0001.png", **options):
    picture.save(path / name, **options)
    return path


GREY = np.zeros((4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (Image.fromarray(GREY).convert("P"), "1/0001.png has a palette; save it as 8 bits of grey"),
        (Image.fromarray(GREY.astype(np.uint16)), "1/0001.png has 16 bits a channel; save it as"),
        (Image.fromarray(GREY).convert("RGBA"), "1/0001.png has opacity; save it as"),
        (Image.fromarray(GREY).convert("RGB"), "1/0001.png is in colours and "),
        (Image.fromarray(np.zeros((5, 3), np.uint8)), "1/0001.png is of 3 x 5 pixels and "),
    ],
)
def test_faults_of_a_picture(folder, picture, says):
    arrays = sorted_arrays()
    y = arrays["y_train"]
    path = replace(folder("one", arrays["x_train"], y), picture, "1/0021.png")
    assert says.replace("0001", "0021") in fault_of(path)
    (path / "1" / "0021.png").rename(path / "0" / "0000.png")  # the first one of all
    assert "0000.png" in fault_of(path)


def test_a_header_that_claims_a_huge_picture_is_refused(folder):
    """Pillow would allocate 243 MB for these 100 bytes."""
    arrays = sorted_arrays()
    path = folder("some", arrays["x_train"], arrays["y_train"])
    for file in sorted(path.glob("*/*.png")):
        whole = file.read_bytes()
        size = struct.pack(">II", 9000, 9000)
        header = b"IHDR" + size + whole[24:29]
        file.write_bytes(whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:])
    assert "its header says 81,000,000 pixels, and the file has" in fault_of(path)


def test_faults_of_a_folder(folder):
    arrays = sorted_arrays()
    path = folder("one", arrays["x_train"], arrays["y_train"])
    (path / "3").mkdir()
    assert "3: found no picture of class '3'; fill the folder, or remove it" in fault_of(path)
    (path / "3").rmdir()
    (path / "1" / "0021.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "0021.png: cannot be read as a picture (" in fault_of(path)
    whole = (path / "1" / "0022.png").read_bytes()
    (path / "1" / "0021.png").write_bytes(whole[: len(whole) // 2])
    assert "0021.png: cannot be read as a picture (" in fault_of(path)
    frames = [Image.fromarray(GREY + i) for i in range(2)]
    frames[0].save(path / "1" / "0021.tif", save_all=True, append_images=frames[1:])
    (path / "1" / "0021.png").unlink()
    assert "0021.tif holds 2 pictures; make a file of each" in fault_of(path)


def test_a_class_only_among_the_test_pictures(folder, tmp_path):
    arrays = sorted_arrays()
    names = ("cat", "dog", "owl")
    few = arrays["y_train"] < 2
    folder("all/train", arrays["x_train"][few], arrays["y_train"][few], names)
    folder("all/test", arrays["x_test"], arrays["y_test"], names)
    assert "no training row is of class owl, and 10 test rows are" in fault_of(tmp_path / "all")


def test_pictures_that_do_not_fit_into_memory(folder, monkeypatch):
    from fastadv.datasets import memory

    arrays = sorted_arrays()
    path = folder("one", arrays["x_train"], arrays["y_train"])
    monkeypatch.setattr(memory, "total_memory", lambda: 60 * 12 * 5 - 1)
    assert "one: reading it takes 3.6 kB of memory" in fault_of(path)


def test_without_pillow_a_line_says_what_to_install(folder, monkeypatch):
    arrays = sorted_arrays()
    path = folder("one", arrays["x_train"], arrays["y_train"])
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert "pictures need Pillow: pip install pillow" in fault_of(path)
