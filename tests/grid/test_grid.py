"""A whole grid on small images: rows, reuse, resume, failures, processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import SMALL_MLP, TASK, write_npz

from fastadv import registry
from fastadv.attacks.none import NoAttack
from fastadv.datasets import load_dataset, share
from fastadv.defenses.training.dpa import DPA
from fastadv.errors import DivergenceError, InputError
from fastadv.grid import measure, stages, workers
from fastadv.grid.cell import Grid
from fastadv.grid.run import run_grid
from fastadv.grid.stages import Fit, kind_of
from fastadv.grid.store import Row, Store
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


def small_grid(dataset: str, **changes: Any) -> list[Row]:
    settings = {"attacks": ATTACKS, "defenses": DEFENSES, "model": SMALL_MLP, "samples": 20}
    return run_grid(dataset=dataset, **{**settings, **changes})


def numbers(rows: list[Row]) -> list[object]:
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
        right = round(row.attacked_accuracy * row.n)
        assert row.attacked_accuracy_ci95 == wilson_interval(right, row.n)
        assert row.n == (20 if row.kind == "evasion" else 45)
        assert (row.oblivious_accuracy is not None) == (
            row.kind == "evasion" and row.defense == "median"
        )
        if row.attack == "none":
            assert row.attacked_accuracy == row.clean_accuracy
    assert {row.threat for row in rows} == {None, "linf(0.1)", "flow(30)", "points(6)"}


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


def test_a_defended_model_is_trained_once(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    original = stages.Fit.run
    monkeypatch.setattr(
        stages.Fit,
        "run",
        lambda self, context: (trained.append(self.key(context)), original(self, context)),
    )
    small_grid(dataset)
    assert len(trained) == len(set(trained))
    # clean and flipped, each for none (which median shares), adv_training and knn_relabel
    assert len(trained) == 6


def test_resume_runs_only_what_is_missing(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small_grid(dataset, output=tmp_path / "out")
    ran: list[str] = []
    for stage in (stages.Poison, stages.Fit, stages.Perturb, measure.Measure):
        original = stage.run
        monkeypatch.setattr(
            stage, "run", lambda self, c, o=original: (ran.append(type(self).__name__), o(self, c))
        )
    assert numbers(small_grid(dataset, output=tmp_path / "out")) == numbers(first)
    assert ran == []
    (tmp_path / "out" / "cells" / f"{first[5].id}.json").write_text('{"id": 3')
    (tmp_path / "out" / "cells" / f"{first[9].id}.npz").write_bytes(b"cut off")
    assert numbers(small_grid(dataset, output=tmp_path / "out")) == numbers(first)
    assert ran == ["Measure", "Measure"]


@pytest.mark.compiled
def test_kill_and_resume(dataset: str, tmp_path: Path) -> None:
    whole = small_grid(dataset, output=tmp_path / "whole")
    code = (
        "import sys; from fastadv import run_grid; "
        f"run_grid(attacks={ATTACKS!r}, defenses={DEFENSES!r}, model={SMALL_MLP!r}, samples=20, "
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
    worst = {(w.threat, w.defense): w for w in worst_rows(rows, tmp_path / "out")}
    assert {threat for threat, _ in worst} == {"linf(0.1)", "flow(30)"}
    for row in rows:
        if row.kind == "evasion":
            assert worst[row.threat, row.defense].accuracy <= row.attacked_accuracy


def test_the_worst_case_of_one_image_at_a_time(tmp_path: Path) -> None:
    """Each attack breaks half of the images; together they leave what both of them left."""
    ids, labels = np.arange(8, dtype=np.uint64), np.zeros(8, np.int64)
    store = Store(tmp_path)

    def cell(attack: str, right: str, status: str = "ok", **changes: Any) -> Row:
        values = {"kind": "evasion", "threat": "linf(0.1)", "defense": "none", "seed": 0, **changes}
        row = Row(id=attack, dataset="d", model="m", attack=attack, status=status, **values)
        robust = np.array([letter == "1" for letter in right])
        store.save_cell(row, {"sample_ids": ids, "y": labels, "robust": robust})
        return row

    rows = [
        cell("pgd", "11110000"), cell("square", "00111110"), cell("cw", "", "failed"),
        cell("apgd", "", "skipped"), cell("other", "10000000", threat="linf(0.2)"),
        cell("median", "11000000", defense="median"), cell("seed", "11100000", seed=1),
    ]  # fmt: skip
    found = worst_rows(rows, tmp_path)
    assert [(w.threat, w.defense, w.seed, w.accuracy) for w in found] == [
        ("linf(0.1)", "none", 0, 0.25), ("linf(0.2)", "none", 0, 0.125),
        ("linf(0.1)", "median", 0, 0.25), ("linf(0.1)", "none", 1, 0.375),
    ]  # fmt: skip
    assert found[0].attacks == ("pgd", "square")
    assert found[0].missing == ("cw",)
    assert found[0].ci95 == wilson_interval(2, 8)
    store.save_cell(rows[1], {"sample_ids": ids + 1, "y": labels, "robust": labels == 0})
    assert "none" not in [w.defense for w in worst_rows(rows[:2], tmp_path)]


def test_attacks_of_one_budget_share_their_worst_case(dataset: str, tmp_path: Path) -> None:
    balls = ["fgsm", "pgd[steps=4]", "apgd[steps=8]", "square[queries=20]"]
    least = ["deepfool[budget=0.3]", "cw[budget=0.3,steps=20]", "pgd[norm=l2,eps=0.3,steps=4]"]
    out = tmp_path / "out"
    rows = small_grid(dataset, attacks=balls + least, defenses=["none"], output=out)
    assert [row.threat for row in rows[1:]] == ["linf(0.1)"] * 4 + ["l2(0.3)"] * 3
    robust = []
    for row in rows[1:]:
        with np.load(out / "cells" / f"{row.id}.npz") as file:
            robust.append(file["robust"])
    found = {w.threat: w for w in worst_rows(rows, out)}
    assert found["linf(0.1)"].attacks == tuple(balls)
    worst = {threat: w.accuracy for threat, w in found.items()}
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


def test_what_a_defense_proves_stands_in_the_rows_of_its_threat(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry("prover", "defense", "a test", f"{__name__}:Prover")
    monkeypatch.setattr(
        Entry, "load", lambda self, o=Entry.load: Prover if self.name == "prover" else o(self)
    )
    monkeypatch.setitem(registry.REGISTRY, "defense", [*registry.DEFENSES, entry])
    ran: list[int] = []
    original = stages.Certify.run
    monkeypatch.setattr(stages.Certify, "run", lambda self, c: (ran.append(1), original(self, c)))
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
    found = [row.certified and (row.certified["threat"], row.certified["accuracy"]) for row in rows]
    share = expected.mean()
    assert found == [
        ("linf(0.1)", share), ("linf(0.1)", share), ("linf(0.05)", share), ("linf(0.2)", 0.0),
        None, None,
    ]  # fmt: skip
    intervals = [list(wilson_interval(right, 30)) for right in (expected.sum(), 0)]
    assert [row.certified["ci95"] for row in rows[2:4] if row.certified] == intervals
    flagged = set()  # what it says is not true, and an attack shows it
    for row in rows[1:4]:
        with np.load(tmp_path / "o" / "cells" / f"{row.id}.npz") as file:
            broken = bool((file["certified"] & ~file["robust"]).any())
        assert broken == ("broken_certificate" in [flag.name for flag in row.flags])
        flagged.add(broken)
    assert flagged == {False, True}
    sheet = make_sheets(rows)[0]
    assert f"proven {100 * share:.1f}" in [line.text for line in sheet.rows[0].cells[0]]
    assert "proven in the clean row within linf(0.1) for prover" in sheet.caption


def test_what_votes_prove_is_of_added_points_and_held_to_its_word(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = ["label_flip[points=2]", "label_flip[points=2,replace=true]"]
    votes = "dpa[partitions=12,blur=0]"
    added, replaced = small_grid(dataset, attacks=attacks, defenses=[votes])[1:]
    assert added.certified is not None
    assert added.certified["threat"] == "points(2)"
    assert 0 < added.certified["accuracy"] <= added.attacked_accuracy  # all images, or the first
    assert added.flags == []
    assert replaced.status == "ok"
    assert replaced.certified is None

    def boast(_self: DPA, model: Any, X: np.ndarray, **_: Any) -> Certificate:
        return Certificate(model.predict(X), np.full(len(X), np.inf), "points")

    monkeypatch.setattr(DPA, "certify", boast)
    strong = "label_flip[fraction=0.5,strategy=coherent]"
    (_, row) = small_grid(dataset, attacks=[strong], defenses=[votes], output=tmp_path / "o")
    assert row.attacked_accuracy < row.clean_accuracy
    assert [flag.name for flag in row.flags] == ["broken_certificate"]


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
        kind_of(Half())
    with pytest.raises(InputError, match=r"is no EvasionAttack: it lacks craft, needs, perturb"):
        kind_of(DPA())
    assert kind_of(NoAttack()) == "none"


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
        assert [row.threat for row in rows] == [None, "linf(0.2)", "linf(0.1)"]
        assert rows[1].attacked_accuracy <= rows[2].attacked_accuracy
    finally:
        registry.ATTACKS.remove(entry)


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
    grid = Grid.parse(["fgsm"], ["none"], dataset, SMALL_MLP, 20, 1, 0)
    share(load_dataset(dataset), tmp_path)
    worker = workers.Worker((grid, str(tmp_path), str(tmp_path / "out"), 1))
    try:
        worker.give("key", Fit(grid.defenses[0], None, 0))
        assert worker.deadline == float("inf")
        assert worker.connection.recv() == workers.BEGUN
        assert worker.connection.recv() == workers.Finished("key", "ok")
    finally:
        worker.stop()


SCRIPT = """
from fastadv import run_grid
rows = run_grid(attacks=["fgsm"], defenses=["none"], dataset={dataset!r}, model={model!r},
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
    store.save_stage("key", {"x_adv": x_adv})
    assert store.stage_path("key").stat().st_size < x_adv.nbytes / 10
    kept = store.load_stage("key")
    assert kept is not None
    np.testing.assert_array_equal(kept["x_adv"], x_adv)


DIES = {
    "at once": "raise SystemExit(3)",
    "with what it was given": "import os; os.read({descriptor}, 9); raise SystemExit(3)",
}


@pytest.mark.parametrize("when", DIES)
def test_a_process_that_dies_early_fails_its_stage_after_a_second_try(
    dataset: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(workers, "_PROGRAM", DIES[when])
    rows = small_grid(dataset, attacks=["fgsm"], defenses=["none"], jobs=2)
    assert [row.status for row in rows] == ["failed", "failed"]
    assert (
        rows[0].reason == f"none: training: its process ended with code 3, twice ({workers._AGAIN})"
    )


def test_a_stage_whose_process_is_killed_once_is_tried_again(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "died"
    dies = f"import os\nif not os.path.exists({str(first)!r}):\n"
    dies += f" open({str(first)!r}, 'w').close(); os.kill(os.getpid(), 9)\n"
    monkeypatch.setattr(workers, "_PROGRAM", dies + workers._PROGRAM)
    rows = small_grid(dataset, attacks=["fgsm"], defenses=["none"], jobs=2)
    assert first.exists()
    assert [row.status for row in rows] == ["ok", "ok"]


def test_how_a_process_ended(tmp_path: Path, dataset: str) -> None:
    grid = Grid.parse(["fgsm"], ["none"], dataset, SMALL_MLP, 20, 1, 0)
    worker = workers.Worker((grid, str(tmp_path), str(tmp_path / "out"), 1))
    try:
        worker.process.kill()
        worker.give("key", Fit(grid.defenses[0], None, 0))
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
        ({"seeds": 0}, "seeds has to be at least 1"),
        ({"model": "mpl"}, "did you mean mlp"),
        ({"model": "mlp[activation=sine]"}, "one of logistic, tanh, relu"),
        ({"model": "mlp[max_iter=0]"}, "mlp: max_iter has to be at least 1, got 0"),
    ],
)
def test_bad_input_before_any_work(
    dataset: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as error:
        small_grid(dataset, output=tmp_path / "out", **changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        small_grid(dataset, output=tmp_path / "file" / "out")


def test_specs_as_one_text_and_a_dataset_in_memory(dataset: str) -> None:
    data = load_dataset(dataset)
    rows = run_grid(
        attacks="fgsm,pgd[eps=0.1,steps=2]", defenses="none", dataset=data, model=SMALL_MLP
    )
    assert [row.attack for row in rows] == ["none", "fgsm", "pgd[eps=0.1,steps=2]"]
    assert {row.dataset for row in rows} == {dataset}
    assert rows[1].n == len(data.x_test) == 45  # fewer than 1,000
    path = run_grid(
        attacks=["fgsm"], defenses=["none"], dataset=Path(dataset), model=SMALL_MLP, samples=45
    )
    assert numbers(path) == numbers(rows[:2])


def test_seeds_are_rows_of_their_own(dataset: str) -> None:
    rows = small_grid(dataset, attacks=["fgsm"], defenses=["none"], seeds=2, seed=4)
    assert [row.seed for row in rows] == [4, 4, 5, 5]


def test_only_what_hangs_on_the_machine_is_said_to_be_tried_again() -> None:
    again = "the same command tries it again"
    for error in (OSError(28, "No space left"), MemoryError()):
        assert workers._message(error).endswith(f"({again})")
    for fault in (InputError("no such class"), DivergenceError("diverged"), TypeError("x")):
        assert again not in workers._message(fault)
