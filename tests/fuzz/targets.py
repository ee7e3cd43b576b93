"""What is fuzzed: for each kind of file that may come from outside some valid ones, how they are
changed, and what reads them. A line of `TARGETS` adds a kind.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
import io
import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grids
import mutate
import numpy as np
import texts

from fastadv.arrays import read_arrays
from fastadv.datasets import load_dataset, read_idx
from fastadv.datasets.dataset import Dataset
from fastadv.models.wrapping import wrap


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Parameters
    ----------
    name : str
    seeds : callable
        Returns valid files.
    mutation : callable
        Changes one.
    read : callable
        Reads what `place` has written; returns the bytes of what was decoded, as float32.
    file : str
        The name under which an input is written.
    put : callable or None
        Makes other files around it, in the folder given.
    cost : float
        Of an input, beside that of the cheapest; it gets so many fewer.
    needs : str
        A module without which it is left out.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    mutation: mutate.Mutation
    read: Callable[[Path], int]
    file: str
    put: Callable[[Path], None] | None = None
    cost: float = 1.0
    needs: str = ""

    def there(self) -> bool:
        """Return whether what it needs is installed."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None

    @functools.cached_property
    def valid(self) -> list[bytes]:
        return self.seeds()

    def place(self, data: bytes, folder: Path) -> Path:
        """Write an input into a folder, and return its path."""
        if self.put is not None:
            self.put(folder)
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


# -- data sets ------------------------------------------------------------------------------


def arrays(n: int = 36, shape: tuple[int, ...] = (4, 3), dtype: Any = np.uint8) -> dict[str, Any]:
    """Images in three classes, bytes or shares of white."""
    rng = np.random.default_rng(0)
    made = {}
    for part, size in (("train", n), ("test", n // 2)):
        images = rng.integers(0, 256, (size, *shape)).astype(np.uint8)
        made[f"x_{part}"] = images if dtype == np.uint8 else (images / 255).astype(dtype)
        made[f"y_{part}"] = (np.arange(size) % 3).astype(np.uint8)
    return made


def npz_bytes(contents: dict[str, Any], packed: bool = True) -> bytes:
    """The bytes of an archive."""
    out = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(out, **contents)
    return out.getvalue()


def _npz() -> list[bytes]:
    named = arrays()
    named["y_train"], named["y_test"] = (
        np.array(list("abc"))[named[k]] for k in ("y_train", "y_test")
    )
    floats = arrays(dtype=np.float64, shape=(3, 5, 5))
    return [
        npz_bytes(arrays()),
        npz_bytes(floats, False),
        npz_bytes(named),
        npz_bytes(arrays(dtype="f4")),
    ]


def idx_bytes(array: Any, code: int = 0x08) -> bytes:
    """The bytes of an IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(">i4" if code == 0x0C else np.uint8).tobytes()


def _idx() -> list[bytes]:
    made = arrays()
    plain = [
        idx_bytes(made["x_train"]),
        idx_bytes(made["y_train"]),
        idx_bytes(np.arange(24).reshape(3, 8), 0x0C),
    ]
    return plain + [gzip.compress(data) for data in plain]


def _csv() -> list[bytes]:
    made = arrays()
    rows = [",".join(map(str, row)) for row in made["x_train"].reshape(36, -1)]
    header = ",".join(f"p{i}" for i in range(12))
    plain = "\n".join(
        ["label," + header, *(f"{y},{r}" for y, r in zip(made["y_train"], rows, strict=True))]
    )
    quoted = plain.replace("label", '"label"').replace("\n", "\r\n") + "\r\n"
    floats = "\n".join(
        ["a;label;b", *(f"{i / 7:.3f};{'cat' if i % 2 else 'dog'};{i}" for i in range(30))]
    )
    return [
        plain.encode(),
        quoted.encode("utf-8-sig"),
        floats.encode("utf-16"),
        plain.encode("latin-1"),
    ]


def _parquet() -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    made, found = arrays(), []
    for labels in (made["y_train"], np.array(list("abc"))[made["y_train"]], made["y_train"] / 1.0):
        columns = {f"p{i}": column for i, column in enumerate(made["x_train"].reshape(36, -1).T)}
        out = io.BytesIO()
        parquet.write_table(pa.table(columns | {"label": labels}), out)
        found.append(out.getvalue())
    return found


def _pictures() -> list[bytes]:
    from PIL import Image

    found, pixels = [], arrays(n=2, shape=(6, 5, 3))["x_train"]
    for mode in ("L", "RGB", "1", "P", "LA", "I;16"):
        for form in ("PNG", "BMP", "GIF", "TIFF", "JPEG", "WEBP", "PPM"):
            out = io.BytesIO()
            image = Image.fromarray(pixels[0]).convert("L" if mode == "I;16" else mode)
            try:
                (
                    Image.fromarray(pixels[0, :, :, 0].astype(np.uint16))
                    if mode == "I;16"
                    else image
                ).save(out, form)
            except (OSError, KeyError):  # not every form has every mode
                continue
            found.append(out.getvalue())
    return found


@functools.cache
def _picture() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(arrays(n=2, shape=(6, 5, 3))["x_train"][1]).save(out, "PNG")
    return out.getvalue()


def _other_pictures(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / "set" / name).mkdir(parents=True, exist_ok=True)
        for i in range(14):
            path = folder / "set" / name / f"{i}.png"
            if not path.exists():
                path.write_bytes(_picture())


def floats_of(data: Dataset) -> int:
    """The bytes of a data set's images as float32."""
    return 4 * sum(x.size for x in (data.x_train, data.x_val, data.x_test))


def _load(form: str) -> Callable[[Path], int]:
    return lambda path: floats_of(load_dataset(form.format(path=path, folder=path.parent.parent)))


def _read_csv(path: Path) -> int:
    text = path.read_bytes()[:200]
    more = (
        ",separator=semicolon,encoding=utf-16"
        if text[:2] in (b"\xff\xfe", b"\xfe\xff")
        else ",shape=4x3"
    )
    return floats_of(load_dataset(f"{path}[label=label{more}]"))


def _read_idx(path: Path) -> int:
    return 4 * read_idx(path).size


def _idx_folder(folder: Path) -> None:
    made = arrays()
    for part, name in (("train", "train"), ("test", "t10k")):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx_bytes(made[f"x_{part}"]))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes(made[f"y_{part}"]))


# -- models ---------------------------------------------------------------------------------


def _models() -> list[bytes]:
    from fastadv.models.mlp import MLPClassifier
    from fastadv.models.svm import SVC

    x = arrays()["x_train"].reshape(36, -1) / np.float32(255)
    y = np.arange(36) % 2
    found = []
    weights = [np.eye(12, 4, dtype=np.float32), np.eye(4, 3, dtype=np.float32)]
    biases = [np.zeros(4, np.float32), np.zeros(3, np.float32)]
    for model in (
        MLPClassifier.from_weights(weights, biases),
        SVC().fit(x, y),
        SVC(kernel="linear").fit(x, y),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "m.npz")
            model.save(path)
            found.append(path.read_bytes())
    return found


def _read_model(path: Path) -> int:
    """Take a model as a grid does, and ask it for two labels; they are small."""
    wrap(path).predict(np.zeros((2, 12), np.float32))
    return 0


def _safetensors() -> list[bytes]:
    from fastadv.models.adapters import safetensors_file

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i, data in enumerate(_models()):
            plain, path = Path(folder, f"{i}.npz"), Path(folder, f"{i}.safetensors")
            plain.write_bytes(data)
            safetensors_file.write(path, read_arrays(plain))
            found.append(path.read_bytes())
    return found


def tensors(data: bytes, rng: Any) -> bytes:
    """Change the JSON at the beginning of a safetensors file, or what follows."""
    if rng.random() < 0.3:
        return mutate.bytewise(data, rng)
    size = int.from_bytes(data[:8], "little")
    head = mutate.json_nodes(data[8 : 8 + size], rng)
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


def _skops() -> list[bytes]:
    """Of each kind of compiled code one, whose arrays it follows without looking."""
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import NuSVC
    from sklearn.tree import DecisionTreeClassifier

    x, y = arrays()["x_train"].reshape(36, -1) / np.float32(255), np.arange(36) % 3
    made = (
        LogisticRegression(),
        DecisionTreeClassifier(max_depth=3),
        KNeighborsClassifier(algorithm="brute"),
        NuSVC(),
    )
    return [skops.io.dumps(model.fit(x, y)) for model in made]


def skops_member(data: bytes, rng: Any) -> bytes:
    """Change the schema or an array of a skops file, often the numbers alone."""
    if data[:1] == b"{":
        return mutate.json_nodes(data, rng)
    return rng.choice((mutate.npy, mutate.numbers))(data, rng)


def _onnx() -> list[bytes]:
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent))
    import onnx_graphs

    coefs = [np.eye(12, 4, dtype=np.float32), np.eye(4, 3, dtype=np.float32)]
    biases = [np.zeros(4, np.float32), np.zeros(3, np.float32)]
    dense = onnx_graphs.as_torch_exports(coefs, biases, shape=("batch", 12))
    return [dense.SerializeToString()]


def member(data: bytes, rng: Any) -> bytes:
    """Change an array of an archive, or the JSON in it."""
    if b"'<U" in data[:100] and rng.random() < 0.7:
        text = data[128:].decode("utf-32-le", "replace").rstrip("\0")
        if text.startswith("{"):
            changed = mutate.json_nodes(text.encode(), rng).decode("utf-8", "replace")
            out = io.BytesIO()
            np.save(out, np.array(changed))
            return out.getvalue()
    return mutate.npy(data, rng)


def _stages() -> list[bytes]:
    facts = np.array(json.dumps({"seconds": 1.0, "name": "x", "deep": [1, {"a": None}]}))
    return [
        npz_bytes(
            {"facts": facts, "x_adv": np.zeros((3, 12), "f4"), "ids": np.arange(3, dtype="u8")}
        )
    ]


def _read_stage(path: Path) -> int:
    from fastadv.grid.store import Store

    made = Store(path.parent.parent, make=False).load_stage(path.stem)
    return 0 if made is None else 4 * sum(array.size for array in made.arrays.values())


def _bench() -> list[bytes]:
    laps = [
        {"suite": "kernels", "race": "a", "runner": name, "ratio": ratio, "low": ratio, "high": ratio, "seconds": 0.1,
         "quality": {"loss": 0.5}}
        for name, ratio in (("fastadv", 1.0), ("numpy", 3.0), ("torch", None))
    ]  # fmt: skip
    document = {
        "schema": 1,
        "rounds": 5,
        "environment": {"processor": "x", "threads": 2},
        "laps": laps,
    }
    return [json.dumps(document).encode()]


def _read_bench(path: Path) -> int:
    from fastadv.benchmarks import compare_bench, compare_table

    good = path.with_name("good.json")
    good.write_bytes(_bench()[0])
    for a, b in ((path, good), (good, path)):
        found = compare_bench.compare_bench(
            compare_bench.read_bench(a), compare_bench.read_bench(b), "a", "b"
        )
        grids.printed(compare_table.bench_compare_table(found))
        compare_table.bench_compare_json(found, compare_bench.slower(found))
    return 0


ARCHIVE = mutate.zipped(mutate.npy)

TARGETS = {
    target.name: target
    for target in (
        Target("idx", _idx, mutate.packed(mutate.bytewise), _read_idx, "images-idx3-ubyte"),
        Target("idx_folder", lambda: _idx()[:2], mutate.packed(mutate.bytewise), lambda p: floats_of(load_dataset(str(p.parent))), "set/train-images-idx3-ubyte", lambda f: (f / "set").mkdir(exist_ok=True) or _idx_folder(f / "set"), 2),
        Target("npz", _npz, ARCHIVE, _load("{path}"), "some.npz", cost=2),
        Target("csv", _csv, mutate.words, _read_csv, "some.csv", cost=2),
        Target("parquet", _parquet, mutate.bytewise, _load("{path}[shape=4x3]"), "some.parquet", cost=2, needs="pyarrow"),
        Target("pictures", _pictures, mutate.png, _load("{folder}"), "set/a/0.png", _other_pictures, 4, "PIL"),
        Target("toml", texts.configs, mutate.words, texts.read_config, "grid.toml"),
        Target("gates", texts.gates, mutate.words, texts.read_gates, "gates.toml"),
        Target("specs", texts.specs, mutate.words, texts.read_specs, "spec"),
        Target("stages", _stages, mutate.zipped(member), _read_stage, "stages/0123456789abcdef.npz"),
        Target("models", _models, mutate.zipped(member), _read_model, "model.npz", cost=2),
        Target("safetensors", _safetensors, tensors, _read_model, "model.safetensors", cost=2, needs="safetensors"),
        Target("skops", _skops, mutate.zipped(skops_member), _read_model, "model.skops", cost=8, needs="skops"),
        Target("onnx", _onnx, mutate.bytewise, _read_model, "model.onnx", cost=8, needs="onnx"),
        Target("rows", grids.rows, mutate.json_nodes, grids.read_rows, "g/cells/evaded.json", grids.put, 12),
        Target("grid_json", grids.documents, mutate.json_nodes, grids.read_rows, "g/grid.json", grids.put, 12),
        Target("samples", grids.samples, mutate.zipped(mutate.npy), grids.read_rows, "g/cells/evaded.npz", grids.put, 12),
        Target("bench", _bench, mutate.json_nodes, _read_bench, "bench.json", cost=2),
    )
}  # fmt: skip
