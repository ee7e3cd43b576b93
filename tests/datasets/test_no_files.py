"""What is no file in the place of one: a pipe that nobody writes to, a device, a folder, a link in a
circle, a file that may not be read. One line for each reader, and nothing is waited for.
"""

from __future__ import annotations

import bz2
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastadv.benchmarks.compare_bench import read_bench
from fastadv.cli.grid_options import resolve_grids
from fastadv.datasets import load_dataset, read_idx
from fastadv.errors import InputError
from fastadv.models.mlp import MLPClassifier
from fastadv.models.wrapping import wrap
from fastadv.report.gates import Gate

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")

GOOD = "label,a\n" + "".join(f"{i % 2},{i}\n" for i in range(40))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def unreadable(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")


def test_file(path: Path) -> None:
    """Read a table whose file for tests it is."""
    path.with_name("train.csv").write_text(GOOD)
    load_dataset(f"{path.with_name('train.csv')}[test_file={path}]")


test_file.__test__ = False  # type: ignore[attr-defined]


def idx_folder(path: Path) -> None:
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        array = np.zeros((2,) * (3 if "images" in name else 1), np.uint8)
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        path.with_name(name).write_bytes(header + array.tobytes())
    load_dataset(str(path.parent))


def usps(path: Path) -> None:
    path.with_name("usps.t.bz2").write_bytes(bz2.compress(b"1 1:0.5\n"))
    load_dataset(str(path.parent))


def cifar(path: Path) -> None:
    path.with_name("data_batch_2.bin").write_bytes(bytes(3073))
    load_dataset(str(path.parent))


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "idx": ("images", read_idx),
    "idx folder": ("train-images-idx3-ubyte", idx_folder),
    "npz": ("d.npz", lambda path: load_dataset(str(path))),
    "csv": ("d.csv", lambda path: load_dataset(str(path))),
    "parquet": ("d.parquet", lambda path: load_dataset(str(path))),
    "file for tests": ("t.csv", test_file),
    "usps": ("usps.bz2", usps),
    "cifar": ("data_batch_1.bin", cifar),
    "model": ("m.npz", wrap),
    "own model": ("m.npz", MLPClassifier.load),
    "safetensors": ("m.safetensors", wrap),
    "skops": ("m.skops", wrap),
    "onnx": ("m.onnx", wrap),
    "options": ("grid.toml", lambda path: resolve_grids({}, path)),
    "gates": ("gates.toml", lambda path: Gate.parse(str(path))),
    "bench": ("bench.json", read_bench),
}


@pytest.mark.parametrize("make", [pipe, circle, device, folder, unreadable])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_one_line(
    tmp_path: Path, reader: str, make: Callable[[Path], None]
) -> None:
    name, read = READERS[reader]
    make(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name)
    said = str(caught.value)
    assert "\n" not in said
    assert str(tmp_path) in said
