"""A grid's folder with one file changed, through everything that shows it."""

from __future__ import annotations

import atexit
import functools
import io
import json
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
import made_grids
from made_grids import cleaned, evaded, kept, poisoned

from fastadv.errors import InputError
from fastadv.grid.result import GridResult, read_result
from fastadv.grid.row import Certified, Figure, Flag
from fastadv.threat import flow, linf

_N = 40


@functools.cache
def _folder() -> Path:
    """A small grid of every kind of row; kept as long as the process lives."""
    folder = Path(tempfile.mkdtemp(prefix="fastadv-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    before = made_grids.N, made_grids.N_EVASION, made_grids.hardness, made_grids.Y
    try:
        made_grids.N, made_grids.N_EVASION = _N, 20
        made_grids.hardness, made_grids.Y = before[2][:_N], before[3][:_N]
        share = Certified(linf(0.1), Figure(0.5, 0.4, 0.6, 10))
        full = {
            "id": "evaded", "certified": share, "flags": [Flag("a", "b", "c")], "notes": [Flag("d", "e")],
            "distances": {"linf": 0.1, "l2": 2.0}, "queries": {"forward": 10.0}, "seconds": {"craft": 1.0},
            "found": {"loss": 1.0, "names": ["a"]}, "parameters": {"attack": {"eps": 0.1}, "model": {"alpha": 1e-4}},
            "success_rate": Figure(0.5, 0.4, 0.6, 10), "oblivious_accuracy": Figure(0.5, 0.4, 0.6, 10),
        }  # fmt: skip
        cells = [
            cleaned("none", 0.98, 1), cleaned("median", 0.96, 2), evaded("pgd", "none", 0.3, 1, **full),
            evaded("fgsm", "none", 0.5, 1), evaded("stadv", "median", 0.5, 2, flow(30)),
            poisoned("biggio", "none", 0.1, 0.02, 2), poisoned("backdoor", "median", 0.1, None, 1),
        ]  # fmt: skip
        kept(folder, *cells)
    finally:
        made_grids.N, made_grids.N_EVASION, made_grids.hardness, made_grids.Y = before
    grid = {
        "attacks": ["none", "pgd", "fgsm", "stadv", "biggio", "backdoor"], "defenses": ["none", "median"],
        "dataset": "mnist", "model": "mlp", "seeds": [0, 1], "repeats": 1, "samples": 20, "seed": 0,
    }  # fmt: skip
    environment = {"fastadv": "0.1.0", "processor": "x", "threads": 2, "python": "3.11"}
    (folder / "grid.json").write_text(json.dumps({"grid": grid, "environment": environment}))
    return folder


def rows() -> list[bytes]:
    return [(_folder() / "cells/evaded.json").read_bytes()]


def documents() -> list[bytes]:
    return [(_folder() / "grid.json").read_bytes()]


def samples() -> list[bytes]:
    return [(_folder() / "cells/evaded.npz").read_bytes()]


def put(folder: Path) -> None:
    """Put the whole grid beside an input."""
    if (
        folder / "g"
    ).exists():  # the file that was changed last is written over, the others were not
        for name in ("grid.json", "cells/evaded.json", "cells/evaded.npz"):
            shutil.copyfile(_folder() / name, folder / "g" / name)
    else:
        shutil.copytree(_folder(), folder / "g")


def printed(renderable: Any) -> str:
    out = Console(file=io.StringIO(), width=80, markup=False, highlight=False, emoji=False)
    out.print(renderable)
    return out.file.getvalue()  # type: ignore[attr-defined]


def read_rows(path: Path) -> int:
    """Read the folder of an input and show it in every form; some only where it has none."""
    folder = next(parent for parent in path.parents if parent.name == "g")
    result = read_result(folder)
    for problem in result.problems:
        assert "\n" not in problem
    for show in SHOWN:
        with suppress(InputError):  # of this form alone
            show(result)
    return 0


def _table(result: GridResult) -> None:
    from fastadv.report.summary_table import summary_table

    printed(summary_table(result))


def _details(result: GridResult) -> None:
    from fastadv.report.table import grid_table

    printed(grid_table(result))


def _markdown(result: GridResult) -> None:
    from fastadv.report import markdown

    markdown.grid_markdown(result).encode()
    markdown.details_markdown(result).encode()


def _latex(result: GridResult) -> None:
    from fastadv.report.latex import grid_latex

    grid_latex(result).encode()


def _data(result: GridResult) -> None:
    from fastadv.report import export

    json.loads(export.rows_json(result))
    for which in ({}, {"runs": True}, {"samples": True}):
        try:
            export.write_csv(result.table(**which), io.StringIO())
            export.write_lines(result.table(**which), io.StringIO())
        except InputError:
            if which != {"samples": True}:
                raise


def _page(result: GridResult) -> None:
    from fastadv.report.html import grid_html

    grid_html(result).encode()


def _stories(result: GridResult) -> None:
    from fastadv.report.story import stories
    from fastadv.report.story_view import StoryView

    for told in stories(result, "*/*", "--cell"):
        printed(StoryView(told, blocks=True))


def _compared(result: GridResult) -> None:
    from fastadv.report import compare, compare_table

    sides = compare.Side("a", None, result), compare.Side("b", None, read_result(_folder()))
    for pair in (sides, sides[::-1]):
        found = compare.compare_grids(*pair)
        compare.regressions(found)
        compare.untold(found)
        printed(compare_table.compare_table(found))
        compare_table.compare_json(found, [])


def _gated(result: GridResult) -> None:
    from fastadv.report.gates import Gate

    gate = Gate.parse("*/*=50%,worst/*=10%")
    assert gate is not None
    gate.failures(result)


SHOWN = (_table, _details, _markdown, _latex, _data, _page, _stories, _compared, _gated)
