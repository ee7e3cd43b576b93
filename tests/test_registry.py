"""What other packages bring by entry points, and what becomes of it when they are wrong."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import blobs

from fastadv import load_dataset, make_attack, plugins, registry
from fastadv.cli.app import main
from fastadv.cli.specs import complete_list, spec_list
from fastadv.datasets.dataset import ARRAYS
from fastadv.errors import InputError
from fastadv.grid.cell import Grid
from fastadv.specs import Spec

MODULE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import Dataset, Task


@dataclass(frozen=True)
class Dim:
    """Less light than before.

    Parameters
    ----------
    by : float
        How much less.
    """

    by: float = 0.1
    name: ClassVar[str] = "dim"
    reference: ClassVar[str] = "Nobody, 1999"
    def perturb(self): ...


@dataclass(frozen=True)
class Adds:
    name: ClassVar[str] = "adds"
    def poison(self): ...


@dataclass(frozen=True)
class Trains:
    """Trains against an attack"""

    attack: object
    name: ClassVar[str] = "trains"
    nested: ClassVar[dict[str, str]] = {"attack": "pgd[eps=0.2]"}
    def fit(self): ...


class Means:
    """Class means."""

    def __init__(self, shrink: float = 0.0, random_state: int | None = None):
        self.shrink, self.random_state = shrink, random_state
    def get_params(self): return vars(self)
    def fit(self, X, y): ...


def bits(n: int = 40):
    """Images of bits."""
    x = np.arange(n * 6).reshape(n, 2, 3) % 7 / 6.0
    return {"x_train": x, "y_train": np.arange(n) % 2, "x_test": x, "y_test": np.arange(n) % 2, "other": None}


def made():
    x = np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3)
    parts = {f"{k}_{p}": v for p in ("train", "val", "test") for k, v in (("x", x), ("y", np.arange(20) % 3))}
    return Dataset("made", **parts, task=Task((1, 3), 2, bounds=(-1, 1)), class_names=("a", "b", "c"))


def nothing(): return [1, 2]
def partly(): return {"x_train": 0, "y_train": 0, "x_test": 0}
def greedy(train: int = 3): return made()
four = 4
'''

GOOD = {
    "attacks": {"dim": "Dim", "adds": "Adds"}, "defenses": {"trains": "Trains"},
    "models": {"means": "Means"}, "datasets": {"bits": "bits", "made": "made"},
}  # fmt: skip


class Bringer:
    """Packages in a folder on the path, as an installer leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, module: str = MODULE, **groups: dict[str, str]) -> None:
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines: list[str] = []
        for group, points in groups.items():
            lines.append(f"[fastadv.{group}]")
            lines += [f"{key} = {name}:{target}" for key, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        (self.folder / f"{name}.py").write_text(module)


@pytest.fixture
def brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(tmp_path)
    plugins._read.cache_clear()
    yield Bringer(tmp_path)
    plugins._read.cache_clear()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def names(what: str) -> list[str]:
    return [entry.name for entry in registry.entries(what)]


def test_what_a_package_brings_comes_behind_ours(brings: Bringer) -> None:
    ours = {what: names(what) for what in registry.REGISTRY}
    plugins._read.cache_clear()
    brings("other", **GOOD)
    for what, group in (
        ("attack", ["adds", "dim"]),
        ("defense", ["trains"]),
        ("model", ["means"]),
        ("dataset", ["bits", "made"]),
    ):
        assert names(what) == [*ours[what], *group]
        for entry in registry.entries(what):
            assert entry.origin == ("other" if entry.name in group else "fastadv")
    found = {entry.name: entry for what in GOOD for entry in registry.entries(what.rstrip("s"))}
    assert [found[name].kind for name in ("dim", "adds", "trains", "means", "bits")] == [
        "evasion",
        "poisoning",
        "training",
        "model",
        "dataset",
    ]
    assert found["dim"].summary == "Less light than before"
    assert found["adds"].summary == ""  # what a dataclass writes itself is no text
    assert found["bits"].summary == "Images of bits"


def test_a_plugin_is_made_as_ours_are(brings: Bringer) -> None:
    brings("other", **GOOD)
    assert registry.canonical(make_attack("dim[by=1/4]")) == "dim[by=0.25]"
    trains = registry.canonical(registry.make("defense", "trains"))
    assert trains.startswith("trains[attack=pgd[eps=0.2,")
    assert registry.canonical(registry.make("defense", trains)) == trains
    model = registry.make("model", "means[shrink=0.5]", random_state=3)
    assert registry.canonical(model) == "means[shrink=0.5,random_state=3]"
    assert registry.parameters(model) == {"shrink": 0.5, "random_state": 3}
    with pytest.raises(InputError, match=r"no attack 'dimm'; did you mean dim\?"):
        make_attack("dimm")
    with pytest.raises(InputError, match=r"dim has no parameter 'bye'; did you mean by\?"):
        make_attack("dim[bye=1]")


def test_a_model_that_is_only_called_as_ours_is_not_ours() -> None:
    from sklearn.svm import SVC

    assert registry.canonical(SVC()).startswith("SVC[")


def test_all_takes_plugins_in(brings: Bringer) -> None:
    brings("other", **GOOD)
    assert spec_list("attack", "all")[-2:] == ["adds", "dim"]
    assert complete_list("attack", "pgd,di") == ["pgd,dim"]
    grid = Grid.parse(["all"], ["all"], "mnist", "means", 1, 1, 0)
    assert grid.attacks[-1].canonical == "dim[by=0.1]"
    assert grid.defenses[-1].text == "trains"


def test_data_of_a_plugin(brings: Bringer) -> None:
    brings("other", **GOOD)
    bits = load_dataset("bits[n=36]")
    assert bits.name == "bits[n=36]"
    assert (len(bits.x_train), len(bits.x_val), bits.task.image_shape) == (33, 3, (2, 3, 1))
    narrow = load_dataset("bits[classes=1-0,n=36,train=4]")
    assert narrow.name == "bits[n=36,classes=1-0,train=4]"
    assert (len(narrow.x_train), narrow.class_names) == (4, ("1", "0"))
    made = load_dataset("made")
    assert (made.name, made.task.bounds, made.class_names) == ("made", (-1, 1), ("a", "b", "c"))
    assert made.x_train.min() == -1
    two = load_dataset("made[classes=2-0,val=3]")
    assert (two.class_names, len(two.x_val)) == (("c", "a"), 3)
    assert len({data.fingerprint for data in (bits, narrow, made, two)}) == 4


def test_list_names_all_that_narrows_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "datasets"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "Narrowed" in line)
    written = Spec.parse(line.partition(": ")[2]).parameters
    assert list(written) == list(registry.NARROWING)


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("nothing", "wrong: the loader of other returned list, expected a fastadv.Dataset or a"),
        ("partly", "wrong: the loader of other returned without y_test, expected"),
        ("greedy", "wrong: its loader takes train, by which any data are narrowed"),
    ],
)
def test_a_loader_that_returns_something_else(brings: Bringer, target: str, fault: str) -> None:
    brings("other", datasets={"wrong": target})
    with pytest.raises(InputError) as caught:
        load_dataset("wrong")
    assert str(caught.value).startswith(fault)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("groups", "module", "reason"),
    [
        ({"attacks": {"bad": "Dim"}}, "import nowhere", "ModuleNotFoundError: No module named 'now"),
        ({"attacks": {"bad": "Dim"}}, "raise SystemExit(3)", "SystemExit: 3"),
        ({"attacks": {"bad": "Dam"}}, MODULE, "AttributeError: module 'other' has no attribute 'D"),
        ({"attacks": {"bad": "Dim"}}, MODULE, "its class says name = 'dim'"),
        ({"attacks": {"bad": "Means"}}, MODULE, "Means has no method poison or perturb"),
        ({"defenses": {"bad": "Dim"}}, MODULE, "Dim has no method certify or sanitize or screen"),
        ({"models": {"bad": "made"}}, MODULE, "it names no class"),
        ({"datasets": {"bad": "four"}}, MODULE, "it names no function"),
        ({"attacks": {"pgd": "Dim"}}, MODULE, "fastadv has one of that name"),
        ({"attacks": {"a,b": "Dim"}}, MODULE, "a name is letters, digits, - and _, and not all or"),
        ({"attacks": {"worst": "Dim"}}, MODULE, "a name is letters, digits, - and _, and not all"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line(
    brings: Bringer,
    groups: dict[str, Any],
    module: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    brings("other", module, **groups)
    brings("second", **GOOD)
    (group, points), = groups.items()  # fmt: skip
    (name,) = points
    assert main(["list", group]) == 0
    done = capsys.readouterr()
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"fastadv: the {group[:-1]} {name!r} of other cannot be used: ")
    assert reason in done.err
    assert "second" in done.out
    assert "other" not in done.out


def test_of_two_packages_the_first_by_name_keeps_a_name(brings: Bringer) -> None:
    brings("b", attacks={"dim": "Dim"})
    brings("a", attacks={"dim": "Dim"})
    with pytest.warns(UserWarning, match="'dim' of b cannot be used: a has one of that name"):
        entry = registry.find("attack", "dim")
    assert entry.origin == "a"


def test_one_that_cannot_be_imported_says_so_when_it_is_asked_for(brings: Bringer) -> None:
    brings("other", "import nowhere", attacks={"bad": "Bad"})
    brings("second", **GOOD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_attack("dim")  # that one beside it is broken does not matter here
    with pytest.raises(InputError, match="'bad' of other cannot be used: ModuleNotFoundError"):
        make_attack("bad")
    with pytest.warns(UserWarning, match="'bad' of other cannot be used"):
        assert "bad" not in spec_list("attack", "all")


def test_list_tells_where_a_plugin_comes_from(
    brings: Bringer, capsys: pytest.CaptureFixture[str]
) -> None:
    brings("other", **GOOD)
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in ("dim", "adds", "trains", "means", "bits", "made"):
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [name])
        assert line.split()[-1] == "other"
    assert max(map(len, out.splitlines())) <= 100
    assert main(["list", "dim"]) == 0
    out = capsys.readouterr().out
    assert "dim (attack, evasion, from other): Less light than before" in out
    assert "Nobody, 1999" in out
    assert "How much less" in out
    assert main(["list", "bits"]) == 0
    assert "Written in brackets: bits[n=40]" in capsys.readouterr().out


def test_help_and_our_own_names_read_no_entry_points() -> None:
    script = (
        "import sys, importlib.metadata as m\n"
        "def refuse(**k): raise AssertionError('read')\n"
        "m.entry_points = refuse\n"
        "from fastadv.cli.app import main\n"
        "from fastadv import registry\n"
        "registry.find('attack', 'pgd')\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    for arguments in (["--help"], ["grid", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_mapped_arrays_stay_mapped(tmp_path: Path) -> None:
    from fastadv import Dataset, Task

    X, y = blobs(30)
    np.save(tmp_path / "x.npy", X)
    for mode, mapped in (("c", True), ("r", False)):
        x = np.load(tmp_path / "x.npy", mmap_mode=mode)  # type: ignore[call-overload]
        arrays = {key: x if key[0] == "x" else y for key in ARRAYS}
        data = Dataset("mapped", **arrays, task=Task((5, 4), 3))
        assert np.shares_memory(data.x_train, x) == mapped
