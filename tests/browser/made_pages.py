"""Pages of made-up grids, as a folder with all that a cell can have makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from made_grids import Made, cleaned, evaded, kept, poisoned

from fastadv import threat
from fastadv.grid.row import Flag
from fastadv.report.html import grid_html

HOSTILE = "\"><script>alert('x')</script>&"

DEFENSES = {"none": 0.98, "adv_training": 0.97, "median": 0.95}
ROBUST = {
    ("fgsm", threat.linf(0.1)): (0.30, 0.80, 0.0),
    ("pgd[eps=0.05]", threat.linf(0.05)): (0.60, 0.90, 0.50),
    ("pgd", threat.linf(0.1)): (0.19, 0.78, 0.29),
    ("stadv[translation=false]", threat.flow(30)): (0.50, 0.58, 0.42),
}
RUNS = 2


def grid(folder: Path) -> Path:
    """The page of four evasion attacks and poison against three defenses, two runs each."""
    cells = [cleaned(d, before, RUNS) for d, before in DEFENSES.items()]
    for (attack, limit), accuracies in ROBUST.items():
        for (defense, before), accuracy in zip(DEFENSES.items(), accuracies, strict=True):
            parameters = {"attack": {"eps": limit.budget, "norm": "linf"}, "model": {"alpha": 0.0}}
            made = evaded(
                attack, defense, accuracy, RUNS, limit, before, parameters=parameters,
                distances={str(limit.distance): 1.0}, seconds={"fit": 1.25, "perturb": 0.5},
            )  # fmt: skip
            cells.append([_with_images(run, limit) for run in made])
    cells[-1][0][0].flags = [Flag("masked", "the gradient misleads", "use square")]
    for (defense, before), lost in zip(DEFENSES.items(), (0.02, 0.01, 0.30), strict=True):
        made = poisoned("biggio", defense, lost, 0.004, RUNS, before=before)
        cells.append([_with_poison(run) for run in made])
    return _page(folder, cells)


def hostile(folder: Path) -> Path:
    """The page of a grid whose every name is an attempt to run a script."""
    bad = HOSTILE
    names = {"dataset": bad, "model": bad}
    flags = {"flags": [Flag(bad, bad, bad)], "notes": [Flag(bad, bad, bad)]}
    limit = threat.Threat("linf", 0.1, "linf")
    shown = evaded(bad, bad, 0.4, 1, limit, **names, **flags, parameters={bad: {bad: bad}})
    cells = [
        cleaned(bad, 0.98, 1, **names),
        [_with_images(run, limit, bad) for run in shown],
        [_with_poison(run, bad) for run in poisoned(bad + "2", bad, 0.1, 0.01, 1, **names)],
    ]
    for number, run in enumerate(run for cell in cells for run in cell):
        run[0].id = f"cell{number}"  # the name of a file
    return _page(folder, cells, environment={bad: bad})


def _page(folder: Path, cells: list[list[Made]], **rest: Any) -> Path:
    folder.mkdir()
    result = kept(folder, *cells, grid={"attacks": [], "repeats": len(cells[0])}, **rest)
    path = folder / "page.html"
    path.write_text(grid_html(result), encoding="utf-8")
    return path


def _with_images(made: Made, limit: threat.Threat, name: str = "") -> Made:
    row, arrays = made
    n, rng = len(arrays["y"]), np.random.default_rng(0)
    before = rng.random((16, 36)).astype(np.float32)
    right = arrays["clean"] == arrays["y"]
    turned = right & ~arrays["robust"]
    return row, arrays | {
        "attacked": np.where(turned, (arrays["y"] + 1) % 10, arrays["clean"]), "is_adv": turned,
        str(limit.distance): np.where(turned, limit.budget * rng.random(n), np.nan),
        "examples": before, "examples_adv": np.clip(before + 0.1, 0, 1),
        "image_shape": np.array([6, 6, 1]),
        "class_names": np.array([name or str(digit) for digit in range(10)]),
    }  # fmt: skip


def _with_poison(made: Made, name: str = "") -> Made:
    row, arrays = made
    return row, arrays | {
        "poison": np.random.default_rng(0).random((16, 36)).astype(np.float32),
        "poison_labels": np.arange(16) % 10, "image_shape": np.array([6, 6, 1]),
        "class_names": np.array([name or str(digit) for digit in range(10)]),
    }  # fmt: skip
