"""The figures of the reference, and what is counted for it: made by the tool, on small data.

One small perceptron is attacked for all pages of evasion attacks, one small grid serves those of
the defenses. They show what a thing does; how strong it is at full size is in the README and in
``results/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import fastadv
from fastadv import registry
from fastadv.entry import Entry

SMALL = "mnist[train=5000,test=1000]"
N_COUNTED = 100  # images on which passes are counted
PAIRS = ("7-1", "9-8", "4-0", "3-5")  # of the poisoned SVMs
# The small grid: what it attacks its defenses with, and what a figure calls that.
GRID = {
    "none": "clean",
    "pgd": "pgd, Linf 0.1",
    "stadv[budget=30]": "stadv, flow 30",
    "label_flip[fraction=0.1]": "10 % random flips",
    "backdoor": "backdoor, 1 %",
}
GRID_DATA, GRID_SAMPLES, GRID_RUNS = "mnist[train=3000,test=1000]", 200, 3
# Of defenses by vote: fewer parts for fewer images, and fewer bags, which take the time.
_SPECS = {"dpa": "dpa[partitions=250]", "bagging": "bagging[models=300]"}
_INK, _OTHER, _OWN = "#808080", "#a8a8a8", "#2f7ebc"  # to be read on white and on black


def made(what: str, entry: Entry) -> Any:
    """Return the attack or the defense as it is unless told otherwise."""
    return registry.make(what, entry.name)


def caption_of(what: str, entry: Entry) -> str:
    """Return what the figure of an entry shows; nothing if it has none."""
    if what == "attack" and entry.kind == "evasion":
        below = ", and where the pixels go, at twice the length" if entry.name == "stadv" else ""
        return (
            f"Images that {entry.name} changes on the small perceptron: before, after, the "
            f"difference (red is brighter, blue darker; the scale is that of its largest){below}. "
            "Above: the true label, and what the model says after."
        )
    if entry.name == "biggio":
        return (
            "One point among 100 training images of a linear SVM, for four pairs of digits: where "
            "it starts, where it ends, the difference. Above: the error on all test images of the "
            "two digits, before and after."
        )
    if entry.kind == "poisoning":
        return f"Points that {entry.name} adds, and the labels that they are given."
    if what == "attack":
        return "Images that the small perceptron gets wrong without any attack."
    if what == "defense":
        spec = f" ({_SPECS[entry.name]})" if entry.name in _SPECS else ""
        return (
            f"Accuracy with {entry.name}{spec} beside none: {GRID_DATA}, "
            f"{GRID_RUNS} runs, 95 % intervals over runs and images. pgd and stadv go through the "
            "defense, backdoor knows of it; a pale bar is flagged, its figure is not to be "
            "trusted. Sets of this size are for pictures: the README has the whole of MNIST."
        )
    captions = {
        "mlp": "The first weights of 16 of its 128 hidden units, as images.",
        "svm": "7 against 1 from 100 images: the weights of the linear kernel, and the support "
        "vectors of the largest multipliers.",
        "mnist": "The first two images of each class.",
    }
    return captions.get(entry.name, "")


def draw(folder: Path) -> dict[str, Any]:
    """Draw what is not there, or is older than the package; return what was counted."""
    folder.mkdir(exist_ok=True)
    counted = folder / "counted.json"
    sources = [*Path(fastadv.__file__).parent.rglob("*.py"), Path(__file__)]
    newest = max(path.stat().st_mtime for path in sources)
    if counted.is_file() and counted.stat().st_mtime > newest:
        found: dict[str, Any] = json.loads(counted.read_text(encoding="utf-8"))
        return found
    found = {}
    for what, entries in registry.REGISTRY.items():
        for entry in entries:
            if caption_of(what, entry):
                figure = _figure_of(what, entry, found)
                path = folder / f"{what}-{entry.name}.png"
                figure.savefig(path, dpi=144, transparent=True, bbox_inches="tight", pad_inches=0.1)
                plt.close(figure)
    counted.write_text(json.dumps(found), encoding="utf-8")
    return found


def _figure_of(what: str, entry: Entry, counted: dict[str, Any]) -> Any:
    if what == "defense":
        return _bars(entry)
    if what == "attack":
        if entry.kind == "evasion":
            return _evasion(entry, counted)
        if entry.kind == "poisoning":
            return _moved() if entry.name == "biggio" else _points(entry)
        return _wrong()
    figures: dict[str, Callable[[], Any]] = {"mlp": _weights, "svm": _support, "mnist": _digits}
    return figures[entry.name]()


@cache
def _small() -> tuple[Any, Any]:
    """Return the small data set and the perceptron of all these pages."""
    data = fastadv.load_dataset(SMALL)
    return data, fastadv.MLPClassifier(random_state=0).fit(data.x_train, data.y_train)


def _evasion(entry: Entry, counted: dict[str, Any]) -> Any:
    data, model = _small()
    attack = made("attack", entry)
    n = len(data.x_test) if entry.name == "noise" else N_COUNTED  # noise changes few
    X, y = data.x_test[:n], data.y_test[:n]
    result = attack.perturb(model, X, y, task=data.task, seed=0)
    counted[entry.name] = result.queries
    rows = np.flatnonzero(result.is_adv)[:6]
    before, after = X[rows], result.x_adv[rows]
    said = model.predict(after)
    titles = [f"{a} → {b}" for a, b in zip(y[rows], said, strict=True)]
    flows = result.details["flow"][rows] if "flow" in result.details else None
    return _compared(before, after, titles, data.task, flows)


def _compared(before: Any, after: Any, titles: list[str], task: Any, flows: Any = None) -> Any:
    """Return a figure of images before and after a change, and the change itself."""
    n_rows = 3 if flows is None else 4
    figure, axes = _sheet(n_rows, len(before))
    change = after - before
    most = max(float(np.abs(change).max()), 1e-6)
    for column in range(len(before)):
        axes[0][column].set_title(titles[column], color=_INK, fontsize=11)
        _show(axes[0][column], before[column], task)
        _show(axes[1][column], after[column], task)
        image = change[column].reshape(task.image_shape[:2])
        axes[2][column].imshow(image, cmap="seismic", vmin=-most, vmax=most)
        if flows is not None:
            _show(axes[3][column], 0.4 * before[column], task)
            du, dv = np.where(np.hypot(*flows[column]) > 0.02, flows[column], np.nan)
            axes[3][column].quiver(
                -du, -dv, color="#ff8a5c", angles="xy", scale_units="xy", scale=0.5, width=0.01
            )
    return figure


def _sheet(n_rows: int, n_columns: int) -> tuple[Any, Any]:
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(1.15 * n_columns, 1.22 * n_rows), squeeze=False, layout="tight"
    )
    for ax in axes.ravel():
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_color(_INK)
    return figure, axes


def _show(ax: Any, image: Any, task: Any) -> None:
    low, high = task.bounds
    ax.imshow(image.reshape(task.image_shape[:2]), cmap="gray", vmin=low, vmax=high)


def _album(images: Any, titles: list[str], task: Any, n_columns: int) -> Any:
    figure, axes = _sheet(-(-len(images) // n_columns), n_columns)
    for ax, image, title in zip(axes.ravel(), images, titles, strict=True):
        ax.set_title(title, color=_INK, fontsize=11)
        _show(ax, image, task)
    return figure


def _points(entry: Entry) -> Any:
    data, model = _small()
    result = made("attack", entry).poison(
        model, data.x_train, data.y_train, data.x_val, data.y_val, task=data.task, seed=0
    )
    rows = result.index[:7]
    return _album(result.X[rows], [f"as {label}" for label in result.y[rows]], data.task, 7)


def _moved() -> Any:
    starts, ends, titles = [], [], []
    for pair in PAIRS:
        data = fastadv.load_dataset(f"mnist[classes={pair},train=100,val=500]")
        model = fastadv.make_model("svm")
        result = registry.make("attack", "biggio[points=1]").poison(
            model, data.x_train, data.y_train, data.x_val, data.y_val, task=data.task, seed=0
        )
        clean, poisoned = (
            100 * (1 - fastadv.SVC().fit(X, y).score(data.x_test, data.y_test))
            for X, y in ((data.x_train, data.y_train), (result.X, result.y))
        )
        starts.append(data.x_train[result.origin[0]])
        ends.append(result.X[result.index[0]])
        titles.append(f"{clean:.1f} → {poisoned:.1f} %")
    return _compared(np.array(starts), np.array(ends), titles, data.task)


def _wrong() -> Any:
    data, model = _small()
    said = model.predict(data.x_test)
    rows = np.flatnonzero(said != data.y_test)[:7]
    titles = [f"{data.y_test[row]} → {said[row]}" for row in rows]
    return _album(data.x_test[rows], titles, data.task, 7)


@cache
def _grid() -> Any:
    defenses = [_SPECS.get(entry.name, entry.name) for entry in registry.REGISTRY["defense"]]
    return fastadv.run_grid(
        attacks=list(GRID), defenses=defenses, dataset=GRID_DATA, samples=GRID_SAMPLES,
        repeats=GRID_RUNS,
    )  # fmt: skip


def _bars(entry: Entry) -> Any:
    rows = {(row.attack, row.defense): row for row in _grid()}
    sides = [("none", _OTHER), (_SPECS.get(entry.name, entry.name), _OWN)]
    sides = sides[:1] if entry.name == "none" else sides
    figure, ax = plt.subplots(figsize=(6.4, 0.5 + 0.52 * len(GRID)), layout="tight")
    height = 0.8 / len(sides)
    for side, (defense, colour) in enumerate(sides):
        for place, attack in enumerate(GRID):
            y = place - 0.4 + (side + 0.5) * height
            row = rows[attack, defense]
            figure_of_row = row.clean_accuracy if attack == "none" else row.attacked_accuracy
            if figure_of_row is None:
                ax.text(1, y, "does not run: no gradient", va="center", color=_INK, fontsize=9)
                continue
            value, low, high = (
                100 * x for x in (figure_of_row.value, figure_of_row.low, figure_of_row.high)
            )
            label = defense if place == 0 else None
            ax.barh(y, value, height, color=colour, alpha=0.4 if row.flags else 1.0, label=label)
            ax.errorbar(value, y, xerr=[[value - low], [high - value]], color=_INK, capsize=2)
            ax.text(min(high + 1.5, 101), y, f"{value:.0f}", va="center", color=_INK, fontsize=9)
    ax.set_yticks(range(len(GRID)), list(GRID.values()), color=_INK)
    ax.set_xlim(0, 108)
    ax.set_xlabel("accuracy, %", color=_INK)
    ax.tick_params(colors=_INK)
    ax.invert_yaxis()
    for name, spine in ax.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(_INK)
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, labelcolor=_INK, fontsize=9
    )
    return figure


def _weights() -> Any:
    data, model = _small()
    figure, axes = _sheet(2, 8)
    matrix = model.coefs_[0]
    for ax, unit in zip(axes.ravel(), range(16), strict=True):
        weights = matrix[:, unit].reshape(data.task.image_shape[:2])
        most = np.abs(weights).max()
        ax.imshow(weights, cmap="seismic", vmin=-most, vmax=most)
    return figure


def _support() -> Any:
    data = fastadv.load_dataset("mnist[classes=7-1,train=100]")
    model = fastadv.SVC().fit(data.x_train, data.y_train)
    figure, axes = _sheet(1, 7)
    weights = model.coef_.reshape(data.task.image_shape[:2])
    most = np.abs(weights).max()
    axes[0][0].imshow(weights, cmap="seismic", vmin=-most, vmax=most)
    axes[0][0].set_title("w", color=_INK, fontsize=11)
    largest = np.argsort(-np.abs(model.dual_coef_[0]))[:6]
    for ax, number in zip(axes[0][1:], largest, strict=True):
        _show(ax, model.support_vectors_[number], data.task)
        ax.set_title(f"a = {model.dual_coef_[0][number]:.2f}", color=_INK, fontsize=9)
    return figure


def _digits() -> Any:
    data, _ = _small()
    rows = [row for turn in range(2) for row in _of_each_class(data.y_train, turn)]
    return _album(data.x_train[rows], [""] * len(rows), data.task, 10)


def _of_each_class(y: Any, turn: int) -> list[int]:
    return [int(np.flatnonzero(y == label)[turn]) for label in np.unique(y)]
