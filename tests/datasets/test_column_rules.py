"""What is said of columns, in brackets and from Python: what they may be, and where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastadv import ColumnRules, Dataset, InputError, load_dataset
from fastadv.cli.app import main
from fastadv.columns import Columns
from fastadv.datasets import open_shared, share

RNG = np.random.default_rng(4)
N = 60
NAMES = ["ID", "age", "sex+x", "color=red", "color=blue", "color=a,b", "pay", "size_s", "size_m"]


def rows() -> Any:
    out = np.zeros((N, len(NAMES)))
    out[:, 0] = RNG.permutation(N)
    out[:, 1] = RNG.integers(18, 80, N)
    out[:, 2] = RNG.integers(0, 2, N)
    out[:, 3:6] = np.eye(3)[RNG.permutation(N) % 3]
    out[:, 6] = RNG.normal(2000, 300, N).astype(np.float32)
    out[:, 7:9] = np.eye(2)[RNG.permutation(N) % 2]
    return out


X, Y = rows(), RNG.permutation(N) % 2


def csv(path: Path, values: Any = X, names: Any = NAMES) -> Path:
    quoted = [f'"{name}"' for name in [*names, "label"]]
    lines = [",".join(quoted)]
    lines += [
        ",".join([*map(repr, row), str(k)]) for row, k in zip(values.tolist(), Y, strict=True)
    ]
    path.write_text("\n".join(lines))
    return path


def columns_of(data: Dataset) -> Columns:
    assert data.task.columns is not None
    return data.task.columns


def test_brackets_say_what_python_says(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv")
    said = "drop=ID,fixed=age+sex+x,one_hot=color+size_s|size_m,low=age:0,high=age:1.2e+2+pay:4000"
    data = load_dataset(f"{path}[{said}]")
    rules = ColumnRules(
        NAMES, drop=["ID"], fixed=["age", "sex+x"], one_hot=["color", ["size_s", "size_m"]],
        low={"age": 0}, high={"age": 120, "pay": 4000},
    )  # fmt: skip
    made = Dataset.from_arrays(X, Y, columns=rules)
    columns = columns_of(data)
    assert columns == columns_of(made)
    assert columns.names == tuple(NAMES[1:])
    assert [columns.names[i] for i in columns.fixed] == ["age", "sex+x"]
    assert [columns.names[i] for i in columns.whole] == ["age", "sex+x"]
    assert columns.one_hot == ((2, 3, 4), (6, 7))
    assert (columns.low[0], columns.high[0], columns.high[5]) == (0, 120, 4000)
    np.testing.assert_array_equal(data.x_train, made.x_train)
    assert load_dataset(data.name).fingerprint == data.fingerprint
    share(data, tmp_path / "shared")
    assert open_shared(tmp_path / "shared").task == data.task


def test_whole_numbers_are_found_or_declared(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv")

    def whole(said: str) -> list[str]:
        columns = columns_of(load_dataset(f"{path}[one_hot=color+size{said}]"))
        return [columns.names[i] for i in columns.whole]

    assert whole("") == ["ID", "age", "sex+x"]
    assert whole(",whole=age+sex+x") == ["age", "sex+x"]
    assert whole(",whole=none") == []
    values = X.copy()
    values[Y == 0, 1] += 0.5
    csv(path, values)
    assert whole("") == ["ID", "sex+x"]


def test_whole_numbers_come_back_as_they_were() -> None:
    data = Dataset.from_arrays(X, Y, columns=NAMES)
    columns = columns_of(data)
    back = columns.in_units(data.x_train)[:, :6]
    known = {tuple(row) for row in X[:, :6].tolist()}
    assert {tuple(row) for row in back.tolist()} <= known
    task = data.task
    np.testing.assert_array_equal(task.brought_back(data.x_test, data.x_test), data.x_test)
    np.testing.assert_array_equal(
        task.brought_back(data.x_test, data.x_test, "l2", 0.1), data.x_test
    )


def test_values_beyond_either_end_are_counted_and_set_to_it() -> None:
    columns = Columns(("a", "b"), (0, 10), (2, 30))
    scaled, beyond = columns.scaled(np.array([[-1.0, 10], [3, 31], [1, 9.5], [2, 20]]))
    assert scaled.tolist() == [[0, 0], [1, 1], [0.5, 0], [1, 0.5]]
    assert beyond == 4


def test_rules_are_of_the_data(tmp_path: Path) -> None:
    plain, fixed = (
        Dataset.from_arrays(X, Y, columns=ColumnRules(NAMES, fixed=names))
        for names in ([], ["age"])
    )
    assert plain.fingerprint != fixed.fingerprint
    path = csv(tmp_path / "t.csv")
    assert load_dataset(path).fingerprint != load_dataset(f"{path}[fixed=age]").fingerprint


def test_a_file_for_tests_may_have_what_is_dropped_or_not(tmp_path: Path) -> None:
    names = ["ID", "a", "b"]
    for name, has_id in (("train", True), ("with", True), ("without", False)):
        lines = [["x" + str(i), str(i), str(i % 7 + 0.5)][0 if has_id else 1 :] for i in range(40)]
        head = names if has_id else names[1:]
        text = [",".join([*line, str(i % 2)]) for i, line in enumerate(lines)]
        (tmp_path / f"{name}.csv").write_text("\n".join([",".join([*head, "label"]), *text]))
    for name in ("with", "without"):
        data = load_dataset(f"{tmp_path / 'train.csv'}[drop=ID,test_file={tmp_path / name}.csv]")
        assert columns_of(data).names == ("a", "b")
        assert len(data.x_test) == 40


def test_missing_values_of_a_dropped_column_do_not_matter(tmp_path: Path) -> None:
    lines = ["ID,a,label", *(f"{'' if i % 2 else 'text'},{i},{i % 3}" for i in range(30))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert columns_of(load_dataset(f"{tmp_path / 't.csv'}[drop=ID]")).names == ("a",)


def test_parquet_says_the_same(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    texts = {"ID": [f"row {i}" for i in range(N)]}
    rest = {name: X[:, i] for i, name in enumerate(NAMES) if i}
    pq.write_table(pa.table({**texts, **rest, "label": Y}), tmp_path / "t.parquet")
    data = load_dataset(f"{tmp_path / 't.parquet'}[drop=ID,fixed=age,one_hot=color+size]")
    wanted = load_dataset(f"{csv(tmp_path / 't.csv')}[drop=ID,fixed=age,one_hot=color+size]")
    assert columns_of(data) == columns_of(wanted)
    np.testing.assert_array_equal(data.x_train, wanted.x_train)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("fixed=aeg", "fixed: no column is called 'aeg'; did you mean age?"),
        ("drop=label", "drop has 'label', the column of the classes"),
        ("whole=pay", "column 'pay' holds other than whole numbers"),
        ("low=age:x", "low has to be NAME:NUMBER, joined by '+', got 'age:x'"),
        ("high=age:90.5", "column 'age' holds whole numbers, and its range is declared as"),
        ("low=age:100", "low has to be below high"),
        ("low=color=red:0,one_hot=color", "'color=red' is a one-hot column, from 0 to 1"),
        ("one_hot=hue", "one_hot: 'hue' is 0 columns, expected two or more, such as hue=A"),
        ("one_hot=age|hue", "one_hot: no column is called 'hue'"),
        ("one_hot=age|sex+x", "of the one-hot columns age, sex\\+x one has to be 1 and the others"),
        ("one_hot=color+color", "column 'color=red' is in two one-hot groups"),
        ("fixed=age,shape=3x3", "fixed is of columns that are no pixels"),
    ],
)
def test_faults(tmp_path: Path, said: str, says: str) -> None:
    with pytest.raises(
        InputError, match=says.replace("+, got", "\\+, got").replace("'+'", "'\\+'")
    ):
        load_dataset(f"{csv(tmp_path / 't.csv')}[{said}]")


@pytest.mark.parametrize(("low", "high"), [(-np.inf, 1), (-1e308, 1e308), (np.nan, 1), (0, np.inf)])
def test_a_declared_range_is_of_finite_numbers(low: float, high: float) -> None:
    rules = ColumnRules(["a", "b"], whole=[], low={"a": low}, high={"a": high})
    with pytest.raises(
        InputError, match=r"column 'a' goes from .* to .*; low has to be below high"
    ):
        Dataset.from_arrays(X[:, [1, 6]], Y, columns=rules)


@pytest.mark.parametrize("key", ["drop", "fixed", "whole"])
def test_a_hint_is_of_the_name_that_is_wrong(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=f"{key}: no column is called 'aeg'; did you mean age\\?"):
        load_dataset(f"{csv(tmp_path / 't.csv')}[{key}=pay+aeg]")


@pytest.mark.parametrize(
    ("said", "says"), [("fixed=aeg", "no column is called 'aeg'"), ("low=age:x", "got 'age:x'")]
)
def test_braces_in_the_name_of_a_file_are_no_places_of_a_text(
    tmp_path: Path, said: str, says: str
) -> None:
    path = csv(tmp_path / "a{b}{0}.csv")
    with pytest.raises(InputError) as caught:
        load_dataset(f"{path}[{said}]")
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)


def test_a_prefix_that_could_be_two_groups() -> None:
    names = ["c=a", "c=b", "c_a", "c_b"]
    x = np.concatenate([np.eye(2)[Y], np.eye(2)[1 - Y]], axis=1)
    with pytest.raises(
        InputError, match=r"'c' could be 'c=a', ... or 'c_a', ...; name the columns"
    ):
        Dataset.from_arrays(x, Y, columns=ColumnRules(names, one_hot=["c"]))
    named = Dataset.from_arrays(x, Y, columns=ColumnRules(names, one_hot=[["c_a", "c_b"]]))
    assert columns_of(named).one_hot == ((2, 3),)


def test_show_says_what_columns_may_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", f"{csv(tmp_path / 't.csv')}[fixed=sex+x,one_hot=color]"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: line for line in map(str.rstrip, lines) if line}
    assert found["age"].endswith("a whole number")
    assert found["sex+x"].endswith("as it is")
    assert found["color=red"].endswith("one-hot, group 1")
    assert not found["pay"].endswith("number")
