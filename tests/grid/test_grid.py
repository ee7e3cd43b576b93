"""A whole grid on small images: rows, reuse, resume, failures, processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import SMALL_MLP, TASK, blobs, write_npz

from fastadv import capabilities, registry
from fastadv.attacks.none import NoAttack
from fastadv.datasets import Dataset, load_dataset, share
from fastadv.defenses.training.dpa import DPA
from fastadv.errors import DivergenceError, InputError
from fastadv.grid import measure, store
from fastadv.grid.cell import Grid
from fastadv.grid.context import Context
from fastadv.grid.executors import processes
from fastadv.grid.executors.base import Begin, Outcome, Queue, attempt
from fastadv.grid.executors.inline import Inline
from fastadv.grid.failures import AGAIN, message
from fastadv.grid.plan import make_plan
from fastadv.grid.result import GridResult
from fastadv.grid.row import Figure, Row
from fastadv.grid.run import run_grid
from fastadv.grid.stages import evaluation, training
from fastadv.grid.stages.base import Made
from fastadv.grid.store import Store, read_samples
from fastadv.grid.worst import worst_rows
from fastadv.metrics import wilson_interval
from fastadv.registry import Entry
from fastadv.report.cells import make_sheets
from fastadv.results import Certificate
from fastadv.task import Task
from fastadv.threat import Threat, linf

ATTACKS = ["pgd[steps=4]", "fgsm", "stadv[steps=6]", "label_flip[points=6]"]
DEFENSES = ["none", "adv_training[epochs=2,attack=fgsm]", "knn_relabel[neighbors=5]", "median"]


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    return write_npz(tmp_path / "small.npz")


def small_grid(dataset: str, **changes: Any) -> GridResult:
    settings = {"attacks": ATTACKS, "defenses": DEFENSES, "model": SMALL_MLP, "samples": 20}
    return run_grid(dataset=dataset, **{"repeats": 1, **settings, **changes})


def numbers(rows: Sequence[Row]) -> list[object]:
    """Everything of the rows that must not move: all but the times."""
    return [
        (r.id, r.status, r.clean_accuracy, r.attacked_accuracy, r.success_rate, r.oblivious_accuracy,
         r.baseline_accuracy, r.distances, r.queries, r.n)
        for r in rows
    ]  # fmt: skip


def test_rows_of_the_documented_form(dataset: str, tmp_path: Path) -> None:
    rows = small_grid(dataset, output=tmp_path / "out")
    assert len(rows) == 5 * 4
    assert [row.status for row in rows] == ["ok"] * 20
    for row in rows:
        assert row.clean_accuracy is not None
        assert row.attacked_accuracy is not None
        figure, n = row.attacked_accuracy, 20 if row.kind == "evasion" else 45
        assert row.n == figure.n_images == n
        assert (figure.low, figure.high) == wilson_interval(round(figure.value * n), n)
        assert row.clean_accuracy.n_images == 45
        assert (row.oblivious_accuracy is not None) == (
            row.kind == "evasion" and row.defense == "median"
        )
        if row.attack == "none":
            assert row.attacked_accuracy == row.clean_accuracy
    assert {row.threat for row in rows} == {
        None, linf(0.1), Threat("flow", 30, "flow_loss"), Threat("points", 6)
    }  # fmt: skip


def test_same_numbers_again_and_in_two_processes(dataset: str, tmp_path: Path) -> None:
    once = small_grid(dataset, output=tmp_path / "a")
    again = small_grid(dataset, output=tmp_path / "b")
    split = small_grid(dataset, output=tmp_path / "c", jobs=2)
    assert numbers(once) == numbers(again) == numbers(split)


def test_a_new_row_changes_no_other(dataset: str) -> None:
    few = small_grid(dataset, attacks=["fgsm"])
    many = small_grid(dataset)
    assert [n for n in numbers(many) if n in numbers(few)] == numbers(few)


def test_fewer_samples_are_a_prefix(dataset: str, tmp_path: Path) -> None:
    robust = []
    for n in (20, 9):
        rows = small_grid(
            dataset,
            attacks=["pgd[steps=4]"],
            defenses=["none"],
            samples=n,
            output=tmp_path / str(n),
        )
        with np.load(tmp_path / str(n) / "cells" / f"{rows[1].id}.npz") as file:
            robust.append(file["robust"])
    np.testing.assert_array_equal(robust[0][:9], robust[1])


def watched(monkeypatch: pytest.MonkeyPatch, *kinds: Any) -> list[str]:
    """Return a list that fills with the names of the stages that run."""
    ran: list[str] = []
    for kind in kinds:
        original = kind.compute

        def compute(self: Any, inputs: Any, context: Context, original: Any = original) -> Made:
            ran.append(type(self).__name__)
            return original(self, inputs, context)

        monkeypatch.setattr(kind, "compute", compute)
    return ran


def test_a_defended_model_is_trained_once(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = watched(monkeypatch, training.Fit)
    small_grid(dataset)
    # clean and flipped, each for none (which median shares), adv_training and knn_relabel
    assert len(trained) == 6


def test_resume_runs_only_what_is_missing(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small_grid(dataset, output=tmp_path / "out")
    ran = watched(monkeypatch, training.Poison, training.Fit, evaluation.Perturb, measure.Measure)
    assert numbers(small_grid(dataset, output=tmp_path / "out")) == numbers(first)
    assert ran == []
    (tmp_path / "out" / "cells" / f"{first[5].id}.json").write_text('{"id": 3')
    (tmp_path / "out" / "cells" / f"{first[9].id}.npz").write_bytes(b"cut off")
    assert numbers(small_grid(dataset, output=tmp_path / "out")) == numbers(first)
    # What one cell alone needs of it is not kept: the attack of the first, on adv_training.
    assert [f"{rows.attack} / {rows.defense}" for rows in (first[5], first[9])] == [
        "pgd[steps=4] / adv_training[epochs=2,attack=fgsm]",
        "fgsm / adv_training[epochs=2,attack=fgsm]",
    ]
    assert ran == ["Perturb", "Measure", "Perturb", "Measure"]


@pytest.mark.compiled
def test_kill_and_resume(dataset: str, tmp_path: Path) -> None:
    whole = small_grid(dataset, output=tmp_path / "whole")
    code = (
        "import sys; from fastadv import run_grid; "
        f"run_grid(repeats=1, attacks={ATTACKS!r}, defenses={DEFENSES!r}, model={SMALL_MLP!r}, samples=20, "
        f"dataset={dataset!r}, output={str(tmp_path / 'cut')!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    cells = tmp_path / "cut" / "cells"
    for _ in range(600):
        if process.poll() is not None or (cells.is_dir() and len(list(cells.glob("*.json"))) >= 3):
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(cells.glob("*.json"))) >= 3
    assert numbers(small_grid(dataset, output=tmp_path / "cut")) == numbers(whole)


def test_worst_is_per_threat_and_per_sample(dataset: str, tmp_path: Path) -> None:
    rows = small_grid(dataset, output=tmp_path / "out")
    worst = {(str(w.threat), w.defense): w for w in rows.worst}
    assert {threat for threat, _ in worst} == {"linf(0.1)", "flow(30)"}
    for row in rows:
        if row.kind == "evasion":
            case = worst[str(row.threat), row.defense].accuracy
            assert case.value <= row.attacked_accuracy.value


def test_the_worst_case_of_one_image_at_a_time(tmp_path: Path) -> None:
    """Each attack breaks half of the images; together they leave what both of them left."""
    ids, labels = np.arange(8, dtype=np.uint64), np.zeros(8, np.int64)
    store = Store(tmp_path)

    def cell(attack: str, right: str, status: str = "ok", **changes: Any) -> Row:
        values = {"kind": "evasion", "threat": linf(0.1), "defense": "none", "seed": 0, **changes}
        row = Row(id=attack, dataset="d", model="m", attack=attack, status=status, n=8, **values)
        robust = np.array([letter == "1" for letter in right])
        store.save_row(row, {"sample_ids": ids, "y": labels, "robust": robust})
        return row

    def samples(row: Row) -> Any:
        return read_samples(tmp_path, row.id)

    rows = [
        cell("pgd", "11110000"), cell("square", "00111110"), cell("cw", "", "failed"),
        cell("apgd", "", "skipped"), cell("other", "10000000", threat=linf(0.2)),
        cell("median", "11000000", defense="median"),
    ]  # fmt: skip
    found = worst_rows(rows, samples)
    assert [(str(w.threat), w.defense, w.accuracy.value) for w in found] == [
        ("linf(0.1)", "none", 0.25), ("linf(0.2)", "none", 0.125), ("linf(0.1)", "median", 0.25)
    ]  # fmt: skip
    assert found[0].attacks == ("pgd", "square")
    assert found[0].missing == ("cw",)
    assert (found[0].accuracy.low, found[0].accuracy.high) == wilson_interval(2, 8)
    store.save_row(rows[1], {"sample_ids": ids + 1, "y": labels, "robust": labels == 0})
    assert "none" not in [w.defense for w in worst_rows(rows[:2], samples)]


def test_attacks_of_one_budget_share_their_worst_case(dataset: str, tmp_path: Path) -> None:
    balls = ["fgsm", "pgd[steps=4]", "apgd[steps=8]", "square[queries=20]"]
    least = ["deepfool[budget=0.3]", "cw[budget=0.3,steps=20]", "pgd[norm=l2,eps=0.3,steps=4]"]
    out = tmp_path / "out"
    rows = small_grid(dataset, attacks=balls + least, defenses=["none"], output=out)
    assert [str(row.threat) for row in rows[1:]] == ["linf(0.1)"] * 4 + ["l2(0.3)"] * 3
    robust = []
    for row in rows[1:]:
        with np.load(out / "cells" / f"{row.id}.npz") as file:
            robust.append(file["robust"])
    found = {str(w.threat): w for w in rows.worst}
    assert found["linf(0.1)"].attacks == tuple(balls)
    worst = {threat: w.accuracy.value for threat, w in found.items()}
    assert worst == {
        "linf(0.1)": np.mean(np.all(robust[:4], axis=0)),
        "l2(0.3)": np.mean(np.all(robust[4:], axis=0)),
    }


def test_a_loss_that_needs_more_classes_is_skipped(tmp_path: Path) -> None:
    dataset = write_npz(tmp_path / "two.npz", task=replace(TASK, n_classes=2))
    rows = small_grid(dataset, attacks=["apgd[loss=dlr]", "apgd[steps=4]"], defenses=["none"])
    assert [row.status for row in rows] == ["ok", "skipped", "ok"]
    assert rows[1].reason == "loss=dlr needs 3 classes; use loss=ce"


@dataclass(frozen=True)
class Prover:
    """Proves for every third image, abstains on every fifth, as far as ``radius``."""

    radius: float = 0.1
    name: ClassVar[str] = "prover"
    reference: ClassVar[str] = "a test"

    def threat(self) -> Threat:
        return linf(self.radius)

    def certify(self, model: Any, X: np.ndarray, *, task: Task, seed: int) -> Certificate:
        label = model.predict(X)
        label[::5] = -1
        radius = np.where(np.arange(len(X)) % 3 == 0, self.radius * (1 + 1e-4), 0.0)
        return Certificate(label, radius, "linf")


def test_what_a_defense_certifies_stands_in_the_rows_of_its_threat(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry("prover", "defense", "a test", f"{__name__}:Prover")
    monkeypatch.setattr(
        Entry, "load", lambda self, o=Entry.load: Prover if self.name == "prover" else o(self)
    )
    monkeypatch.setitem(registry.REGISTRY, "defense", [*registry.DEFENSES, entry])
    ran = watched(monkeypatch, evaluation.Certify)
    attacks = ["fgsm", "fgsm[eps=0.05]", "fgsm[eps=0.2]", "noise[norm=l2]", "label_flip[points=6]"]
    rows = small_grid(
        dataset, attacks=attacks, defenses=["prover"], output=tmp_path / "o", samples=30
    )
    assert [row.status for row in rows] == ["ok"] * 6
    assert len(ran) == 1
    with np.load(tmp_path / "o" / "cells" / f"{rows[1].id}.npz") as file:
        expected = (file["y"] == file["clean"]) & (np.arange(30) % 3 == 0) & (np.arange(30) % 5 > 0)
        np.testing.assert_array_equal(file["certified"], expected)
    assert expected.any()
    found = [
        row.certified and (str(row.certified.threat), row.certified.accuracy.value) for row in rows
    ]
    share = expected.mean()
    assert found == [
        ("linf(0.1)", share), ("linf(0.1)", share), ("linf(0.05)", share), ("linf(0.2)", 0.0),
        None, None,
    ]  # fmt: skip
    intervals = [Figure.of_count(int(right), 30) for right in (expected.sum(), 0)]
    assert [row.certified.accuracy for row in rows[2:4] if row.certified] == intervals
    flagged = set()  # what it says is not true, and an attack shows it
    for row in rows[1:4]:
        with np.load(tmp_path / "o" / "cells" / f"{row.id}.npz") as file:
            broken = bool((file["certified"] & ~file["robust"]).any())
        assert broken == ("broken_certificate" in [flag.name for flag in row.flags])
        flagged.add(broken)
    assert flagged == {False, True}
    sheet = make_sheets(rows)[0]
    assert f"certified {100 * share:.1f}" in [line.text for line in sheet.rows[0].cells[0].lines]
    assert "certified in the clean row within linf(0.1) for prover" in sheet.caption


def test_what_votes_prove_is_of_added_points_and_held_to_its_word(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = ["label_flip[points=2]", "label_flip[points=2,replace=true]"]
    votes = "dpa[partitions=12,blur=0]"
    added, replaced = small_grid(dataset, attacks=attacks, defenses=[votes])[1:]
    assert added.certified is not None
    assert str(added.certified.threat) == "points(2)"
    certified = added.certified.accuracy.value
    assert 0 < certified <= added.attacked_accuracy.value  # all images, or the first
    assert added.flags == []
    assert replaced.status == "ok"
    assert replaced.certified is None

    def boast(_self: DPA, model: Any, X: np.ndarray, **_: Any) -> Certificate:
        return Certificate(model.predict(X), np.full(len(X), np.inf), "points")

    monkeypatch.setattr(DPA, "certify", boast)
    strong = "label_flip[fraction=0.5,strategy=coherent]"
    (_, row) = small_grid(dataset, attacks=[strong], defenses=[votes], output=tmp_path / "o")
    assert row.attacked_accuracy.value < row.clean_accuracy.value
    assert "broken_certificate" in [flag.name for flag in row.flags]


@dataclass(frozen=True)
class Brittle:
    """Fails, or takes its time, or does not go with the model."""

    mode: str = "fail"
    name: ClassVar[str] = "brittle"
    reference: ClassVar[str] = "a test"
    needs: ClassVar[frozenset[str]] = frozenset()

    def threat(self) -> object:
        return linf(0.1)

    def supports(self, model: object, task: object) -> str | None:
        return "it is not in the mood" if self.mode == "skip" else None

    def craft(self, *args: object, **kwargs: object) -> object:
        raise NotImplementedError

    def perturb(self, *args: object, **kwargs: object) -> object:
        raise RuntimeError("broke in\ntwo")


@dataclass(frozen=True)
class Half:
    """Poisons, but cannot say what came of it."""

    name: ClassVar[str] = "half"
    reference: ClassVar[str] = "a test"
    needs: ClassVar[frozenset[str]] = frozenset()

    def threat(self) -> Threat:
        return linf(0.1)

    def supports(self, model: object, task: object) -> str | None:
        return None

    def poison(self, *args: object, **kwargs: object) -> object:
        raise NotImplementedError


def test_an_attack_that_lacks_a_method_is_not_taken_for_none() -> None:
    """It would stand in the table with the clean accuracy."""
    with pytest.raises(
        InputError, match="Half is no PoisoningAttack: it lacks baseline, evaluate, n_points"
    ):
        capabilities.kind_of(Half())
    with pytest.raises(InputError, match=r"is no EvasionAttack: it lacks craft, needs, perturb"):
        capabilities.kind_of(DPA())
    assert capabilities.kind_of(NoAttack()) == "none"


def test_failed_and_skipped_cells_are_rows(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry("brittle", "evasion", "a test", f"{__name__}:Brittle")
    monkeypatch.setattr(
        Entry, "load", lambda self, o=Entry.load: Brittle if self.name == "brittle" else o(self)
    )
    monkeypatch.setitem(registry.REGISTRY, "attack", [*registry.ATTACKS, entry])
    rows = small_grid(
        dataset,
        attacks=["brittle", "brittle[mode=skip]", "fgsm"],
        defenses=["none"],
        output=tmp_path / "o",
    )
    assert [row.status for row in rows] == ["ok", "failed", "skipped", "ok"]
    assert "RuntimeError: broke in two" in (rows[1].reason or "")
    assert rows[2].reason == "it is not in the mood"


def test_what_a_model_keeps_is_no_object(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.Fit, "compute", lambda *_: Made({"weights": np.array([None])}, {}))
    rows = small_grid(dataset, attacks=["fgsm"], defenses=["none"])
    assert [row.status for row in rows] == ["failed", "failed"]
    for row in rows:
        assert "weights holds objects; only numbers and text can be kept" in (row.reason or "")


def test_a_cell_that_cannot_be_planned_fails_alone() -> None:
    """Three per cent of 15 images are no point; how many there are is asked before any work."""
    x, y = blobs(15)
    dataset = Dataset("few", x, y, x, y, x, y, task=TASK)
    rows = run_grid(
        repeats=1, attacks=["biggio", "fgsm"], defenses=["none"], dataset=dataset, model=SMALL_MLP
    )
    assert [row.status for row in rows] == ["ok", "failed", "ok"]
    assert rows[1].reason == (
        "biggio against none: a fraction of 0.03 of 15 images is less than one point"
    )


@pytest.mark.parametrize(
    ("writes", "folder"),
    [("write_arrays", "stages"), ("write_arrays", "cells"), ("atomic_write", "cells")],
)
def test_a_disk_that_is_full_stops_the_run_and_is_no_result(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: str, folder: str
) -> None:
    write = getattr(store, writes)

    def full(path: Path, *rest: Any, **options: Any) -> Any:
        if path.parent.name == folder:
            raise OSError(28, "No space left on device")
        return write(path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store, writes, full)
        with pytest.raises(InputError, match=f"cannot write to {tmp_path}: No space left") as error:
            small_grid(dataset, attacks=["fgsm"], defenses=["none"], output=tmp_path)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cells").glob("*.json"))
    rows = small_grid(dataset, attacks=["fgsm"], defenses=["none"], output=tmp_path)
    assert [row.status for row in rows] == ["ok", "ok"]


def test_an_attack_is_one_class_and_one_line(
    dataset: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastadv.attacks.evasion.fgsm import FGSM
    from fastadv.cli.app import main

    @dataclass(frozen=True)
    class Twice(FGSM):
        eps: float = 0.2
        name: ClassVar[str] = "twice"

    entry = Entry("twice", "evasion", "fgsm with twice the budget", "nowhere:Twice")
    monkeypatch.setattr(
        Entry, "load", lambda self, o=Entry.load: Twice if self.name == "twice" else o(self)
    )
    registry.ATTACKS.append(entry)
    try:
        assert main(["list", "attacks"]) == 0
        assert "fgsm with twice the budget" in capsys.readouterr().out
        import test_contracts

        assert "twice" in test_contracts.names("attack", "evasion")
        rows = small_grid(dataset, attacks=["twice", "fgsm"], defenses=["none"])
        assert [row.threat for row in rows] == [None, linf(0.2), linf(0.1)]
        assert rows[1].attacked_accuracy.value <= rows[2].attacked_accuracy.value
    finally:
        registry.ATTACKS.remove(entry)


def queued(dataset: str, folder: Path) -> tuple[Context, Queue]:
    """A small grid, planned."""
    grid = Grid.parse(["fgsm"], ["none"], dataset, SMALL_MLP, 20, 1, 0)
    context, store = Context(grid, load_dataset(dataset)), Store(folder)
    return context, Queue(make_plan(context, store, False, print), store)


@pytest.mark.slow
@pytest.mark.compiled
def test_a_stage_that_takes_too_long_is_stopped(dataset: str) -> None:
    rows = small_grid(
        dataset, attacks=["pgd[steps=100000000]", "fgsm"], defenses=["none"], timeout=6
    )
    assert [row.status for row in rows] == ["ok", "timeout", "ok"]
    assert "stopped after 6 s" in (rows[1].reason or "")


@pytest.mark.compiled
def test_the_time_of_a_stage_begins_when_its_process_is_ready(dataset: str, tmp_path: Path) -> None:
    share(load_dataset(dataset), tmp_path)
    context, queue = queued(dataset, tmp_path / "out")
    worker, planned = processes.Worker((context.grid, None, str(tmp_path), 1)), queue.take()
    try:
        worker.give(planned, {})
        assert worker.deadline == float("inf")
        assert worker.connection.recv() == processes.BEGUN
        outcome = worker.connection.recv()
        assert (outcome.key, outcome.status) == (planned.key, "ok")
    finally:
        worker.stop()


class Scattered:
    """Every stage in a process of its own, in no order but that of what each needs."""

    def run(self, queue: Queue, context: Context, begin: Begin) -> Iterator[Outcome]:
        rng = np.random.default_rng(0)
        spawn = multiprocessing.get_context("spawn")
        while queue:
            ready = list(iter(queue.take, None))
            rng.shuffle(ready)
            for planned in ready:
                begin(planned.stage.label())
                with spawn.Pool(1) as pool:
                    outcome = pool.apply(attempt, (planned, queue.inputs(planned), context))
                yield from queue.end(outcome)


@pytest.mark.slow
@pytest.mark.compiled
def test_any_executor_gives_the_same_rows(dataset: str) -> None:
    changes = {
        "attacks": ["fgsm", "label_flip[points=6]", "pgd[steps=2]"],
        "defenses": ["none", "median"],
    }
    inline, scattered = (
        small_grid(dataset, **changes, executor=executor) for executor in (Inline(), Scattered())
    )
    assert numbers(inline) == numbers(scattered)
    assert {row.status for row in inline} == {"ok"}


SCRIPT = """
from fastadv import run_grid
rows = run_grid(repeats=1, attacks=["fgsm"], defenses=["none"], dataset={dataset!r}, model={model!r},
                samples=20, jobs=2)
print([row.status for row in rows])
"""


@pytest.mark.compiled
@pytest.mark.parametrize("how", ["a script without a main guard", "standard input", "-c"])
def test_processes_whatever_the_main_program_is(dataset: str, tmp_path: Path, how: str) -> None:
    code, script = SCRIPT.format(dataset=dataset, model=SMALL_MLP), tmp_path / "script.py"
    script.write_text(code)
    # Of the folder of whoever calls; a worker that imports it ends at once.
    (tmp_path / "selectors.py").write_text("raise SystemExit('imported from the working folder')")
    words = {"standard input": ["-"], "-c": ["-c", code]}.get(how, [str(script)])
    done = subprocess.run(
        [sys.executable, "-P", *words], input=code if how == "standard input" else None, text=True,
        capture_output=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "['ok', 'ok']", "")


def test_attacked_images_are_kept_compressed(tmp_path: Path) -> None:
    x_adv = np.zeros((100, 784), np.float32)
    x_adv[:, ::5] = 0.5
    store = Store(tmp_path)
    store.save_stage("key", Made({"x_adv": x_adv}, {"seconds": 1.5}))
    assert (tmp_path / "stages" / "key.npz").stat().st_size < x_adv.nbytes / 10
    kept = store.load_stage("key")
    assert kept is not None
    np.testing.assert_array_equal(kept.arrays["x_adv"], x_adv)
    assert kept.facts == {"seconds": 1.5}


def test_what_nothing_will_read_is_not_kept(dataset: str, tmp_path: Path) -> None:
    """Of each stage, what cells of other attacks or defenses can need stays; rows are the same."""
    attacks, small = ["fgsm", "biggio[points=6,steps=1]"], {"model": SMALL_MLP, "samples": 20}
    defenses = ["none", "median", "knn_relabel[neighbors=5]", "outlier[neighbors=1]"]
    first = run_grid(
        repeats=1, dataset=dataset, attacks=attacks, defenses=defenses, output=tmp_path, **small
    )
    assert {row.status for row in first} == {"ok"}
    kept = Counter(_what_it_is(path) for path in (tmp_path / "stages").iterdir())
    assert kept == {
        "attacked": 1,  # the bare model, which all wrappers share
        "poison": 2,  # flips, and biggio's that knows no defense
        "scouting": 4,  # biggio's, whatever the seed: against none and each that it adapts to
        # clean: none (which median shares), knn_relabel, outlier; flips: the same; biggio: none
        "model": 7,
        "inspection": 4,
        "survey": 1,  # knn_relabel's, for whatever poison comes
    }
    more = ["noise", *attacks], [*defenses, "bit_depth"]
    second = run_grid(
        repeats=1, dataset=dataset, attacks=more[0], defenses=more[1], output=tmp_path, **small
    )
    fresh = run_grid(repeats=1, dataset=dataset, attacks=more[0], defenses=more[1], **small)
    assert numbers(second) == numbers(fresh)
    assert [n for n in numbers(second) if n in numbers(first)] == numbers(first)


def _what_it_is(path: Path) -> str:
    by_array = {
        "x_adv": "attacked", "rows": "poison", "weights": "model", "product": "survey",
        "facts": "inspection",
    }  # fmt: skip
    with np.load(path) as archive:
        if '"plan"' in str(archive["facts"]):
            return "scouting"
        return next(word for array, word in by_array.items() if array in archive)


@pytest.mark.parametrize("when", ["at_once", "with_what_it_was_given"])
def test_a_process_that_dies_early_fails_its_stage_after_a_second_try(
    dataset: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(processes, "_SERVE", f"dying:{when}")
    rows = small_grid(dataset, attacks=["fgsm"], defenses=["none"], jobs=2)
    assert [row.status for row in rows] == ["failed", "failed"]
    assert (
        rows[0].reason == f"none: training, seed 0: its process ended with code 3, twice ({AGAIN})"
    )


def test_a_stage_whose_process_is_killed_once_is_tried_again(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "died"
    monkeypatch.setenv("DIED", str(first))
    monkeypatch.setattr(processes, "_SERVE", "dying:once")
    rows = small_grid(dataset, attacks=["fgsm"], defenses=["none"], jobs=2)
    assert first.exists()
    assert [row.status for row in rows] == ["ok", "ok"]


def test_how_a_process_ended(tmp_path: Path, dataset: str) -> None:
    context, queue = queued(dataset, tmp_path / "out")
    worker = processes.Worker((context.grid, None, str(tmp_path), 1))
    try:
        worker.process.kill()
        worker.give(queue.take(), {})
        assert worker.answer() is None
        assert worker.ending() == "was ended by SIGKILL"
    finally:
        worker.stop()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": ["stdav"]}, "did you mean stadv"),
        ({"attacks": ["stadv[tau=abc]"]}, "stadv: tau has to be a number or none, got 'abc'"),
        ({"attacks": ["stadv[tua=1]"]}, "did you mean tau"),
        ({"attacks": ["pgd[eps=-1]"]}, "eps has to be at least 0"),
        ({"defenses": ["adv_training[attack=biggio]"]}, "attack has to be an evasion attack"),
        ({"samples": -1}, "samples has to be at least 1"),
        ({"samples": 46}, "has 45 test images"),
        ({"jobs": 0}, "jobs has to be at least 1"),
        ({"repeats": 0}, "repeats has to be at least 1"),
        ({"seed": 2**32 - 1, "repeats": 2}, "seeds have to be below 4294967296, .* got 4294967296"),
        ({"samples": "46"}, "samples is 46, but .* has 45 test images"),
        ({"output": 3}, "output has to be the path of a folder, or None, got 3"),
        ({"output": b"x"}, "output has to be the path of a folder, or None, got b'x'"),
        ({"output": "a\0b"}, "'a.x00b' cannot be the name of a folder"),
        ({"model": "mpl"}, "did you mean mlp"),
        ({"model": "mlp[activation=sine]"}, "one of logistic, tanh, relu"),
        ({"model": "mlp[max_iter=0]"}, "mlp: max_iter has to be at least 1, got 0"),
    ],
)
def test_bad_input_before_any_work(
    dataset: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as error:
        small_grid(dataset, **{"output": tmp_path / "out", **changes})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        small_grid(dataset, output=tmp_path / "file" / "out")


def test_specs_as_one_text_and_a_dataset_in_memory(dataset: str) -> None:
    data = load_dataset(dataset)
    rows = run_grid(
        repeats=1,
        attacks="fgsm,pgd[eps=0.1,steps=2]",
        defenses="none",
        dataset=data,
        model=SMALL_MLP,
    )
    assert [row.attack for row in rows] == ["none", "fgsm", "pgd[eps=0.1,steps=2]"]
    assert {row.dataset for row in rows} == {dataset}
    assert rows[1].n == len(data.x_test) == 45  # fewer than 1,000
    path = run_grid(
        repeats=1,
        attacks=["fgsm"],
        defenses=["none"],
        dataset=Path(dataset),
        model=SMALL_MLP,
        samples=45,
    )
    assert numbers(path) == numbers(rows[:2])


def test_runs_are_kept_one_by_one_behind_the_row_of_their_cell(dataset: str) -> None:
    rows = small_grid(dataset, attacks=["fgsm"], defenses=["none"], repeats=2, seed=4)
    assert [(row.attack, row.seed) for row in rows.runs] == [
        ("none", 4), ("fgsm", 4), ("none", 5), ("fgsm", 5)
    ]  # fmt: skip
    assert [(row.attack, [run.seed for run in row.runs]) for row in rows] == [
        ("none", [4, 5]), ("fgsm", [4, 5])
    ]  # fmt: skip
    again = small_grid(dataset, attacks=["fgsm"], defenses=["none"], seeds=2, repeats=None, seed=4)
    assert numbers(again) == numbers(rows)


def test_only_what_hangs_on_the_machine_is_said_to_be_tried_again() -> None:
    again = "the same command tries it again"
    for error in (OSError(28, "No space left"), MemoryError()):
        assert message(error).endswith(f"({again})")
    # kept in a row, which is a file, whatever the folder is called
    assert message(InputError("a\udcff has gone")) == "a? has gone"
    for fault in (InputError("no such class"), DivergenceError("diverged"), TypeError("x")):
        assert again not in message(fault)
