"""Machine code on disk: found again, shared, and compiled anew where it is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numba.core.codegen import CPUCodeLibrary

from fastadv.kernels import _jit
from fastadv.kernels._cache import KernelCache

pytestmark = pytest.mark.compiled

Compile = Callable[[], Any]


def twice(x: Any) -> Any:
    return x + x


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compile:
    """Return a function that compiles `twice` as a new process would: with what is on disk."""
    monkeypatch.setattr(_jit, "CACHE_FOLDER", tmp_path / "kernels")
    return lambda: _jit.exact_kernel(twice)


def hits(kernel: Any) -> int:
    return sum(kernel.stats.cache_hits.values())


def test_a_signature_is_a_file_and_is_found_again(compiled: Compile, tmp_path: Path) -> None:
    first, other = compiled(), compiled()
    assert first(2) == 4
    assert other(0.5) == 1.0  # of another process, which began before the first had saved
    assert len(list((tmp_path / "kernels").iterdir())) == 2
    again = compiled()
    assert (again(2), again(0.5)) == (4, 1.0)
    assert hits(again) == 2
    first._cache.flush()
    assert not list((tmp_path / "kernels").iterdir())


@pytest.mark.parametrize("damage", ["empty", "cut short", "a bit", "of something else"])
def test_a_damaged_file_is_compiled_again_and_heals(
    damage: str, compiled: Compile, tmp_path: Path
) -> None:
    compiled()(2)
    (file,) = (tmp_path / "kernels").iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(
        {
            "empty": b"",
            "cut short": whole[:middle],
            "a bit": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "of something else": b"\x80\x04N." * 100,
        }[damage]
    )
    healed, after = compiled(), compiled()
    assert (healed(2), hits(healed)) == (4, 0)
    assert (after(2), hits(after)) == (4, 1)


def test_where_nothing_can_be_kept_it_is_said_once_and_the_kernel_runs(
    compiled: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelCache, "_told", False)
    (tmp_path / "kernels").write_text("a file where the folder should be")
    kernel = compiled()
    with pytest.warns(UserWarning, match="kernels cannot be kept in .*NUMBA_CACHE_DIR"):
        assert kernel(2) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel(0.5) == 1.0
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_kernel_whose_object_a_signal_lost_runs_and_is_compiled_again(
    compiled: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised while LLVM hands an object over is swallowed, and the object with it."""
    asked = CPUCodeLibrary._get_compiled_object

    def lost(library: Any) -> Any:
        library._compiled_object = None
        return asked(library)

    with monkeypatch.context() as patch:
        patch.setattr(CPUCodeLibrary, "_get_compiled_object", lost)
        assert compiled()(2) == 4
    assert not list(tmp_path.glob("kernels/*"))
    again, after = compiled(), compiled()
    assert (again(2), hits(again)) == (4, 0)
    assert (after(2), hits(after)) == (4, 1)


def test_what_killed_processes_left_half_written_goes_with_the_next_kernel(
    compiled: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    for name, age in ((".old.tmp", 2 * 3600), (".new.tmp", 60)):
        (folder / name).touch()
        os.utime(folder / name, (0, time.time() - age))
    compiled()(2)
    assert [path.name for path in folder.glob(".*")] == [".new.tmp"]


@pytest.mark.usefixtures("compiled")
def test_a_constant_of_an_enclosing_function_tells_kernels_apart() -> None:
    def times(factor: int) -> Any:
        def product(x: Any) -> Any:
            return factor * x

        return _jit.exact_kernel(product)

    assert (times(2)(3), times(5)(3)) == (6, 15)
    again = times(5)
    assert (again(3), hits(again)) == (15, 1)


def test_code_for_another_processor_or_type_is_another_file() -> None:
    cache = KernelCache(twice, Path("kernels"))

    class Processor:
        def __init__(self, name: str) -> None:
            self.name = name

        def magic_tuple(self) -> tuple[str, str, str]:
            return ("x86_64", self.name, "+avx2")

    paths = {
        cache._path(signature, Processor(name))
        for signature in ("(int64,)", "(float64,)")
        for name in ("znver3", "skylake")
    }
    assert len(paths) == 4
    assert all(path.match("kernels/test_cache.twice.*.nbc") for path in paths)


# Two functions of one name, too long to be inlined; `first` and `second` each call one of them.
MEET = """
import sys
import numpy as np
from fastadv.kernels._jit import exact_kernel

def make(k):
    @exact_kernel
    def count(x):
        s = 0.0
{body}
        return k
    return count

one, two = make(1.0), make(2.0)

@exact_kernel
def first(x):
    return one(x)

@exact_kernel
def second(x):
    return two(x)

@exact_kernel
def both(x):
    return 10.0 * first(x) + second(x)

print(globals()[sys.argv[1]](np.ones(3)))
"""


def run_after_one_another(tmp_path: Path, code: str, *arguments: str) -> list[str]:
    """What each of several processes prints, that share what they compile."""
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    return [
        subprocess.run(
            [sys.executable, str(script), argument],
            env=environment, check=True, capture_output=True, text=True,
        ).stdout.strip()
        for argument in arguments
    ]  # fmt: skip


@pytest.mark.slow
def test_functions_of_one_name_that_different_processes_compiled_stay_apart(tmp_path: Path) -> None:
    """Numba numbers them from 1 in each process, and a linker takes equal names for one function."""
    loop = "        for i in range(x.size):\n            s += x[i] * {}.5 - k / (1.0 + s * s)\n"
    loop += "            x[i] = s\n"
    code = MEET.format(body="".join(map(loop.format, range(40))))
    said = run_after_one_another(tmp_path, code, "first", "second", "both")
    assert said == ["1.0", "2.0", "12.0"]


ALONE = """
import sys
import numpy as np
from numba import prange
from fastadv.kernels._jit import exact_kernel, parallel_kernel

@parallel_kernel
def side_by_side(x):
    for i in prange(x.size):
        x[i] = 1.0

@exact_kernel
def either(x, threads):
    if threads > 1:
        side_by_side(x)
    else:
        x[0] = 2.0
    return x.sum()

x = np.zeros(3)
print(either(x, 1) if sys.argv[1] == "either" else side_by_side(x))
"""


@pytest.mark.slow
def test_a_kernel_that_calls_one_with_prange_runs_without_it(tmp_path: Path) -> None:
    """Its machine code is not linked where Numba's threads have not been started."""
    said = run_after_one_another(tmp_path, ALONE, "side_by_side", "either", "either")
    assert said == ["None", "2.0", "2.0"]
