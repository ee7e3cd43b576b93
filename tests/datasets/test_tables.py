"""Tables: CSV and Parquet files, and each fault of one in one line."""

from __future__ import annotations

import os

import numpy as np
import pytest
from making import assert_same, assert_sound, fault_of, small_arrays

from fastadv.datasets import load_dataset
from fastadv.datasets.dataset import ARRAYS


def lines_of(arrays, part="train", comma=",", names=None):
    """The header and the rows of a CSV file, the label in the middle."""
    x = arrays[f"x_{part}"].reshape(len(arrays[f"y_{part}"]), -1)
    labels = arrays[f"y_{part}"]
    header = comma.join([f"p{i}" for i in range(5)] + ["label"] + [f"p{i}" for i in range(5, 12)])
    rows = [
        comma.join([*map(str, row[:5]), names[y] if names else str(y), *map(str, row[5:])])
        for row, y in zip(x, labels, strict=True)
    ]
    return [header, *rows]


@pytest.fixture
def csv(tmp_path):
    """Return a function that writes lines, some of them replaced, and returns the path."""

    def write(lines=None, name="some.csv", encoding="utf-8", **replaced):
        lines = list(lines or lines_of(small_arrays()))
        for key, line in replaced.items():
            lines[int(key[4:]) - 1] = line  # line3="..." is the third one
        path = tmp_path / name
        path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
        return path

    return write


GOOD = "1,2,3,4,5,0,7,8,9,10,11,12,13"


def test_a_csv_file_is_what_the_same_arrays_are(csv, npz):
    test = csv(lines_of(small_arrays(), "test"), "test.csv")
    data = load_dataset(f"{csv()}[shape=4x3,test_file={test}]")
    assert_sound(data)
    assert_same(data, load_dataset(str(npz())))
    assert data.task.image_shape == (4, 3, 1)
    assert load_dataset(data.name).fingerprint == data.fingerprint
    halved = load_dataset(f"{csv()}[shape=4x3]")
    assert_same(halved, load_dataset(str(npz("half.npz", x_test=None, y_test=None))))
    assert "12 of 60 rows were drawn" in halved.notes[-1]


@pytest.mark.parametrize(
    ("encoding", "comma", "spec"),
    [
        ("utf-8-sig", ",", ""),
        ("utf-8", ";", ",separator=semicolon"),
        ("utf-8", "\t", ",separator=tab"),
        ("utf-16", ",", ",encoding=utf-16"),
        ("latin-1", ",", ",encoding=latin-1"),
    ],
)
def test_other_ways_to_write_one(csv, encoding, comma, spec):
    arrays, names = small_arrays(), ("käse", "weiß", "öl")
    plain = load_dataset(f"{csv(lines_of(arrays, names=names))}[shape=4x3]")
    path = csv(lines_of(arrays, comma=comma, names=names), "other.csv", encoding)
    data = load_dataset(f"{path}[shape=4x3{spec}]")
    assert_same(data, plain)
    assert data.class_names == names


def test_without_a_header_columns_have_numbers(csv):
    wanted = load_dataset(f"{csv()}[shape=4x3]")
    path = csv(lines_of(small_arrays())[1:], "bare.csv")
    assert_same(load_dataset(f"{path}[shape=4x3,header=false,label=6]"), wanted)


def test_quotes_blank_lines_and_a_header_of_two_lines(csv):
    lines = lines_of(small_arrays())
    wanted = load_dataset(f"{csv(lines)}[shape=4x3]")
    lines[0] = lines[0].replace("p0", '"two\r\nlines"')
    lines = [
        lines[0],
        *(f'"{line.replace(",", chr(34) + "," + chr(34))}"' for line in lines[1:]),
        "",
    ]
    assert_same(load_dataset(f"{csv(lines, 'quoted.csv')}[shape=4x3]"), wanted)


def test_columns_of_the_file_for_tests_are_found_by_name(csv):
    lines = lines_of(small_arrays(), "test")
    turned = [",".join(line.split(",")[::-1]) for line in lines]
    wanted = load_dataset(f"{csv()}[shape=4x3,test_file={csv(lines, 'a.csv')}]")
    assert_same(load_dataset(f"{csv()}[shape=4x3,test_file={csv(turned, 'b.csv')}]"), wanted)
    fewer = [line.rpartition(",")[0] for line in lines]
    fault = fault_of(f"{csv()}[shape=4x3,test_file={csv(fewer, 'c.csv')}]")
    assert fault.endswith("c.csv: no column 'p11', unlike the training file")
    more = [f"{line},{'q' if i == 0 else 1}" for i, line in enumerate(lines)]
    fault = fault_of(f"{csv()}[shape=4x3,test_file={csv(more, 'd.csv')}]")
    assert fault.endswith("d.csv: one column too many: 'q', unlike the training file")


def test_a_class_only_in_the_file_for_tests(csv):
    names = ("cat", "dog", "owl")
    train = csv(lines_of(small_arrays(n_classes=2), names=names))
    test = csv(lines_of(small_arrays(), "test", names=names), "test.csv")
    assert fault_of(f"{train}[shape=4x3,test_file={test}]").endswith(
        "no training row is of class owl, and 10 test rows are; leave them out (of a file or a "
        "folder by classes=cat-dog)"
    )
    assert load_dataset(f"{train}[shape=4x3,test_file={test},classes=cat-dog]").task.n_classes == 2


def test_floats_and_the_value_of_white(csv):
    arrays = small_arrays()
    shares = arrays | {"x_train": arrays["x_train"] / 255}
    wanted = load_dataset(f"{csv()}[shape=4x3]")
    np.testing.assert_allclose(
        load_dataset(f"{csv(lines_of(shares), 'f.csv')}[shape=4x3]").x_train, wanted.x_train
    )
    twice = arrays | {"x_train": arrays["x_train"].astype(int) * 2}
    path = csv(lines_of(twice), "g.csv")
    assert "or the value of white in brackets: range=255" in fault_of(f"{path}[shape=4x3]")
    np.testing.assert_array_equal(
        load_dataset(f"{path}[shape=4x3,range=510]").x_train, wanted.x_train
    )


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        ({"line3": GOOD.replace("7", "")}, "1 row has missing values, first in line 3 (column 'p5')"),
        ({"line3": GOOD.replace("7", "NaN")}, "missing values, first in line 3 (column 'p5')"),
        ({"line3": GOOD.replace("7", "?"), "line9": GOOD.replace("12", "NA")}, "2 rows have missing"),
        ({"line3": GOOD.replace(",0,", ",,")}, "missing values, first in line 3 (column 'label')"),
        ({"line4": GOOD.replace("7", "red")}, "column 'p5' holds text ('red' in line 4); make it"),
        ({"line4": GOOD.replace("7", '"0,5"')}, "column 'p5' has decimal commas ('0,5' in line 4)"),
        ({"line4": GOOD.replace("7", "inf")}, "column 'p5' holds text ('inf' in line 4)"),
        ({"line5": GOOD + ",1"}, "line 5 has 14 columns, expected 13 as in the first line"),
        ({"line5": "1,2"}, "line 5 has 2 columns, expected 13"),
        ({"line1": "p0,p1,p2,p3,p4,label,p5,p6,p7,p8,p9,p10,p10"}, "called 'p10'; rename all but one"),
        ({"line1": ",p1,p2,p3,p4,label,p5,p6,p7,p8,p9,p10,p11"}, "column 1 has no name: is it the index"),
        ({"line1": "p0,p1,p2,p3,p4,Label,p5,p6,p7,p8,p9,p10,p11"}, "no column is called 'label'; did you mean Label? State"),
        ({"line1": "p0,p1,p2,p3,p4,kind,p5,p6,p7,p8,p9,p10,p11"}, "label=NAME (there are p0, p1, p2, p3, p4, kind, p5, p6, ...)"),
        ({"line1": GOOD}, "the first line holds numbers, expected names of columns; state in brackets header=false and label=1"),
    ],
)  # fmt: skip
def test_faults_of_a_table(csv, replaced, says):
    assert says in fault_of(f"{csv(**replaced)}[shape=4x3]")


def test_faults_of_a_file(csv, tmp_path):
    path = csv(lines_of(small_arrays(), names=("ä", "b", "c")), encoding="latin-1")
    assert "the text is not utf-8 (byte 0xe4); state what it is in brackets" in fault_of(
        f"{path}[shape=4x3]"
    )
    path = csv(encoding="utf-16")
    assert "the text is UTF-16; state it in brackets, encoding=utf-16" in fault_of(
        f"{path}[shape=4x3]"
    )
    path = csv(lines_of(small_arrays(), comma=";"))
    assert "state it in brackets: separator=semicolon" in fault_of(f"{path}[shape=4x3]")
    for data, says in (
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"label,a\n", "found no row below the header"),
        (b"label\n1\n", "found one column, 'label', expected others beside it"),
        (b"PK\x03\x04\0\0\0\0", "found bytes that are no text, expected a CSV file"),
    ):
        path.write_bytes(data)
        assert says in fault_of(f"{path}[shape=1x1]")
    assert "there is no encoding 'utf8x'" in fault_of(f"{path}[shape=1x1,encoding=utf8x]")
    gone = tmp_path / "gone.csv"
    assert f"{gone}: cannot be read" in fault_of(f"{csv()}[shape=4x3,test_file={gone}]")


def test_faults_of_a_shape(csv):
    for stated in ("range=255", "channels=first"):
        assert "is of images: state their shape, too (shape=28x28)" in fault_of(
            f"{csv()}[{stated}]"
        )
    for shape in ("4", "4x0", "x", "4x3x1x1", "-4x3"):
        assert "shape has to be height and width, such as 28x28" in fault_of(
            f"{csv()}[shape={shape}]"
        )
    assert "found 12 columns beside the label, expected 15 for shape=5x3" in fault_of(
        f"{csv()}[shape=5x3]"
    )


# Parquet


@pytest.fixture
def parquet(tmp_path):
    """Return a function that writes the small arrays, with columns changed or left out (None)."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")

    def write(part="train", name="some.parquet", **changes):
        arrays = small_arrays()
        x = arrays[f"x_{part}"].reshape(-1, 12)
        columns = {f"p{i}": x[:, i] for i in range(12)} | {"label": arrays[f"y_{part}"]} | changes
        table = pa.table({key: value for key, value in columns.items() if value is not None})
        path = tmp_path / name
        pq.write_table(table, path)
        return path

    return write


def test_a_parquet_file_is_what_the_same_arrays_are(parquet, npz):
    wanted = load_dataset(str(npz()))
    test = parquet("test", "test.parquet")
    data = load_dataset(f"{parquet()}[shape=4x3,test_file={test}]")
    assert_same(data, wanted)
    assert load_dataset(data.name).fingerprint == data.fingerprint


def test_labels_of_a_parquet_file(parquet):
    import pyarrow as pa

    y = small_arrays()["y_train"]
    wanted = load_dataset(f"{parquet()}[shape=4x3]")
    texts = np.array(["cat", "dog", "owl"])[y]
    for labels in (texts, pa.array(texts).dictionary_encode(), y / 1.0):
        data = load_dataset(f"{parquet(label=labels)}[shape=4x3]")
        assert_same(data, wanted, [key for key in ARRAYS if key[0] == "y"])
    assert load_dataset(f"{parquet(label=texts)}[shape=4x3]").class_names == ("cat", "dog", "owl")


def test_faults_of_parquet(parquet, tmp_path):
    numbers = small_arrays()["x_train"].reshape(-1, 12)[:, 1].tolist()
    none, nan = [None, *numbers[1:]], [float("nan"), *numbers[1:]]
    for changes, says in (
        ({"p1": none}, "1 row has missing values (column 'p1')"),
        ({"p1": nan}, "1 row has missing values (column 'p1')"),
        ({"p1": [None] * 60}, "60 rows have missing values (column 'p1')"),
        ({"label": [None, *[1, 0] * 29, 1]}, "1 row has missing values (column 'label')"),
        ({"p1": ["red"] * 60}, "column 'p1' holds text ('red'); make it numbers"),
        ({"label": None}, "no column is called 'label'."),
        ({"__index_level_0__": numbers}, "column 14 has no name: is it the index of a data frame?"),
    ):
        assert says in fault_of(f"{parquet(**changes)}[shape=4x3]")
    for data in (b"", b"PAR1", parquet().read_bytes()[:300]):
        (tmp_path / "bad.parquet").write_bytes(data)
        fault = fault_of(f"{tmp_path / 'bad.parquet'}[shape=4x3]")
        assert "bad.parquet: cannot be read as a Parquet file (" in fault


def test_without_pyarrow_a_line_says_what_to_install(parquet, monkeypatch):
    path = parquet()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "Parquet files need pyarrow: pip install pyarrow" in fault_of(f"{path}[shape=4x3]")


@pytest.mark.parametrize(
    ("changed", "spec", "says"),
    [
        ({"line3": GOOD.replace("7", f'"{"1" * 200_000}"')}, "", "cannot be read (field larger"),
        ({"line1": "a" * 200_000}, "", "cannot be read as columns (field larger"),
        ({"line3": GOOD.replace("7", "1e39")}, "", "holds 1e39 in line 3, beyond the numbers of 32 bits"),
        ({"line3": GOOD.replace("7", "1_0")}, "", "column 'p5' holds text ('1_0' in line 3)"),
        ({"line3": GOOD.replace("7", "٣")}, "", "column 'p5' holds text ('٣' in line 3)"),
        ({"line1": "p0,label"}, ",header=true", "line 2 has 13 columns, expected 2"),
        ({}, ",encoding=base64", "there is no encoding 'base64'"),
        ({}, ",encoding=undefined", "there is no encoding 'undefined'"),
        ({}, ",encoding=utf-16", "the text is not utf-16 (UTF-16 stream does not start with BOM)"),
        ({}, ",encoding=punycode", "the text is not punycode ("),
        ({}, ",test_file=/dev/zero", "/dev/zero: cannot be read (it is no regular file)"),
        ({}, f",test_file={'x' * 400}", "cannot be read (File name too long)"),
        ({}, ",test_file=~nobody-of-that-name/a", "cannot be the name of a file"),
        ({}, ",test_file=\0", "cannot be read (it is no name of a file)"),
    ],
)  # fmt: skip
def test_what_ended_in_a_traceback_or_said_little(csv, changed, spec, says):
    assert says in fault_of(f"{csv(**changed)}[shape=4x3{spec}]")


def test_a_file_of_blank_lines_alone(tmp_path):
    (tmp_path / "blank.csv").write_text("\n" * 3000 + " \n" * 3000)
    assert "blank.csv" in fault_of(tmp_path / "blank.csv")
    (tmp_path / "blank.csv").write_text('""\n' * 3000)
    assert "blank.csv" in fault_of(tmp_path / "blank.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_pipe_as_the_file_for_tests_is_not_waited_for(csv, parquet, tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    train = csv() if suffix == "csv" else parquet()
    fault = fault_of(f"{train}[shape=4x3,test_file={tmp_path / f'pipe.{suffix}'}]")
    assert "it is no regular file" in fault
