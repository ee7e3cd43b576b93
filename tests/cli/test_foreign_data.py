"""``fastadv grid`` on folders as other tools leave them: the figures of the same images as a .npz."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastadv.datasets import mnist_folder, read_idx

N_TRAIN, N_TEST = 900, 250

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def images() -> Arrays:
    """A piece of MNIST, as bytes (n, 28, 28)."""
    out = {}
    for part, name, n in (("train", "train", N_TRAIN), ("test", "t10k", N_TEST)):
        out[f"x_{part}"] = read_idx(mnist_folder() / f"{name}-images-idx3-ubyte.gz")[:n]
        out[f"y_{part}"] = read_idx(mnist_folder() / f"{name}-labels-idx1-ubyte.gz")[:n]
    return out


def write_idx(path: Path, array: np.ndarray, code: int = 0x08, gz: bool = False) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    data = header + array.astype(">i4" if code == 0x0C else np.uint8).tobytes()
    path.write_bytes(data)
    if gz:
        Path(f"{path}.gz").write_bytes(gzip.compress(data, 1))


def torchvision_mnist(folder: Path, images: Arrays) -> str:
    """Each file plain and gzipped."""
    for part, name in (("train", "train"), ("test", "t10k")):
        write_idx(folder / f"{name}-images-idx3-ubyte", images[f"x_{part}"], gz=True)
        write_idx(folder / f"{name}-labels-idx1-ubyte", images[f"y_{part}"], gz=True)
    return str(folder)


def emnist_letters(folder: Path, images: Arrays) -> str:
    """Labels from 1, beside another split."""
    for split, first in (("letters", 1), ("digits", 0)):
        for part in ("train", "test"):
            name = folder / f"emnist-{split}-{part}"
            kept = images[f"x_{part}"] if split == "letters" else 255 - images[f"x_{part}"]
            write_idx(Path(f"{name}-images-idx3-ubyte"), kept)
            write_idx(Path(f"{name}-labels-idx1-ubyte"), images[f"y_{part}"] + first)
    return f"{folder}[prefix=emnist-letters]"


def qmnist(folder: Path, images: Arrays) -> str:
    """Labels of eight integers, the class first."""
    for part in ("train", "test"):
        write_idx(folder / f"qmnist-{part}-images-idx3-ubyte", images[f"x_{part}"])
        labels = np.column_stack(
            [images[f"y_{part}"].astype(int)] + 7 * [np.arange(len(images[f"y_{part}"]))]
        )
        write_idx(folder / f"qmnist-{part}-labels-idx2-int", labels, code=0x0C)
    return str(folder)


def keras_channels_first(folder: Path, images: Arrays) -> str:
    """One .npz of (n, 1, 28, 28)."""
    turned = {key: a[:, np.newaxis] if key[0] == "x" else a for key, a in images.items()}
    np.savez(folder / "mnist.npz", **turned)
    return str(folder / "mnist.npz")


def by_class(images: Arrays) -> Arrays:
    """The images class by class, as a folder of pictures is read."""
    orders = {part: np.argsort(images[f"y_{part}"], kind="stable") for part in ("train", "test")}
    return {key: array[orders[key[2:]]] for key, array in images.items()}


def csv(folder: Path, images: Arrays) -> str:
    """A table as from a spreadsheet: a header, the label first."""
    for part in ("train", "test"):
        rows = np.column_stack([images[f"y_{part}"], images[f"x_{part}"].reshape(-1, 784)])
        header = ",".join(["digit", *(f"pixel{i}" for i in range(784))])
        np.savetxt(folder / f"{part}.csv", rows, "%d", ",", header=header, comments="")
    return f"{folder}/train.csv[label=digit,shape=28x28,test_file={folder}/test.csv]"


def parquet(folder: Path, images: Arrays) -> str:
    """A table as from a data frame: the label last, as text."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for part in ("train", "test"):
        columns = dict(enumerate(images[f"x_{part}"].reshape(-1, 784).T))
        table = {str(i): column for i, column in columns.items()}
        labels = images[f"y_{part}"].astype(str)
        pq.write_table(pa.table(table | {"label": labels}), folder / f"{part}.parquet")
    return f"{folder}/train.parquet[shape=28x28,test_file={folder}/test.parquet]"


def pictures(folder: Path, images: Arrays) -> str:
    """train/CLASS/NNNN.png and test/CLASS/NNNN.png."""
    image = pytest.importorskip("PIL.Image")
    for part in ("train", "test"):
        for i, (pixels, label) in enumerate(
            zip(images[f"x_{part}"], images[f"y_{part}"], strict=True)
        ):
            inner = folder / part / str(label)
            inner.mkdir(parents=True, exist_ok=True)
            image.fromarray(pixels).save(inner / f"{i:04}.png")
    return str(folder)


COMMAND = ("--attacks", "fgsm,square[queries=20],label_flip[fraction=0.3],backdoor", "--defenses", "none,median", "--samples", "100", "--model", "mlp[hidden_layer_sizes=16,max_iter=3]", "--json")  # fmt: skip


def figures(program: Any, dataset: str, out: str, *more: str) -> tuple[list[Any], str]:
    done = program("grid", *COMMAND, *more, "--dataset", dataset, "--output", out)
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    keys = ("attack", "defense", "status", "n", "clean_accuracy", "attacked_accuracy", "success_rate", "baseline_accuracy")  # fmt: skip
    return [[row[key] for key in keys] for row in rows], done.err


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (torchvision_mnist, ""), (emnist_letters, ""), (qmnist, ""),
        (keras_channels_first, "read as channels first: 28 x 28 pixels, 1 channel\n"),
    ],
)  # fmt: skip
def test_a_grid_on_it(
    program: Any, tmp_path: Path, images: Arrays, make: Callable[[Path, Arrays], str], says: str
) -> None:
    np.savez(tmp_path / "plain.npz", **images)
    (tmp_path / "there").mkdir()
    wanted, _ = figures(program, str(tmp_path / "plain.npz"), "one")
    found, said = figures(program, make(tmp_path / "there", images), "two")
    assert found == wanted
    assert says in said
    assert wanted[0][4]["value"] > 0.6, "it has learnt something"


@pytest.mark.compiled
def test_the_same_images_as_idx_npz_csv_parquet_and_pictures_are_the_same_grid(
    program: Any, tmp_path: Path, images: Arrays
) -> None:
    ordered = by_class(images)
    np.savez(tmp_path / "plain.npz", **ordered)
    once = ("--repeats", "1")
    wanted, _ = figures(program, str(tmp_path / "plain.npz"), "npz", *once)
    assert wanted[0][4]["value"] > 0.6, "it has learnt something"
    for make in (torchvision_mnist, csv, parquet, pictures):
        (tmp_path / make.__name__).mkdir()
        spec = make(tmp_path / make.__name__, ordered)
        found, said = figures(program, spec, f"as-{make.__name__}", *once)
        assert found == wanted, make.__name__
        assert "drawn" not in said


def test_without_a_prefix_one_line_says_how_to_choose(
    program: Any, tmp_path: Path, images: Arrays
) -> None:
    emnist_letters(tmp_path, images)
    done = program("grid", "--attacks", "fgsm", "--dataset", str(tmp_path))
    assert done.code == 2
    assert done.err.startswith("loading\nfastadv: ")
    assert done.err.count("\n") == 2
    assert "[prefix=emnist-digits]" in done.err


def test_a_name_that_is_not_utf_8_is_one_line(program: Any) -> None:
    for command in ("grid --attacks fgsm", "attack fgsm"):
        done = program(*command.split(), "--dataset", "\udcff.npz")
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert "not UTF-8" in done.err
