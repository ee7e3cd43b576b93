from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from helpers import TORCH

from fastadv.cli.grid_options import GridOptions, parse_duration, resolve_grids
from fastadv.cli.specs import complete_list, spec_list
from fastadv.grid import defaults
from fastadv.manual import parameters_of
from fastadv.registry import ATTACKS, DEFENSES, REGISTRY, make

SMALL = "mnist[train=300,val=100,test=100]"

# -- grid -----------------------------------------------------------------------------------


def test_the_grid_is_asked_for_what_was_written(program, fake_grid):
    done = program(
        "grid", "--attacks", "pgd[eps=0.1,steps=5],fgsm,fgsm", "--defenses", "none",
        "--dataset", SMALL, "--model", "mlp[max_iter=1]", "--samples", "7", "--seeds", "2",
        "--seed", "3", "--output", "fastadv-results", "--jobs", "2", "--timeout", "10m", "--fresh",
    )  # fmt: skip
    assert done.code == 0
    del fake_grid.asked["progress"]
    assert fake_grid.asked == {
        "attacks": ["pgd[eps=0.1,steps=5]", "fgsm"], "defenses": ["none"], "dataset": SMALL,
        "model": "mlp[max_iter=1]", "samples": 7, "repeats": 2, "seed": 3,
        "output": "fastadv-results", "jobs": 2, "timeout": 600.0, "fresh": True,
    }  # fmt: skip
    assert "results in fastadv-results" in done.err
    assert "50.0" in done.out
    assert "50.0" in Path("fastadv-results/table.md").read_text()


def test_defaults_are_those_of_the_grid(program, fake_grid):
    assert program("grid", "--attacks", "pgd").code == 0
    assert fake_grid.asked["defenses"] == list(defaults.DEFENSES)
    assert fake_grid.asked["timeout"] is None
    assert fake_grid.asked["output"] == "fastadv-results"


def test_defaults_agree_with_run_grid():
    from fastadv.grid.run import run_grid

    signature = inspect.signature(run_grid).parameters
    options = GridOptions(attacks=["pgd"], defenses=["none"])
    for name in ("dataset", "model", "samples", "repeats", "seed", "jobs", "timeout"):
        assert getattr(options, name) == signature[name].default, name


@pytest.mark.parametrize("option", ["--repeats", "--seeds"])
def test_seeds_is_another_name_for_repeats(program, fake_grid, option):
    assert program("grid", "--attacks", "pgd", option, "4").code == 0
    assert fake_grid.asked["repeats"] == 4
    assert "seeds" not in fake_grid.asked


def test_a_bare_grid_has_attacks_of_its_own(program, fake_grid):
    assert program("grid").code == 0
    assert fake_grid.asked["attacks"] == list(defaults.ATTACKS)
    assert fake_grid.asked["repeats"] is None


def test_a_flag_beats_the_file_and_the_file_the_default(tmp_path):
    file = tmp_path / "grid.toml"
    file.write_text(
        'attacks = ["pgd[eps=0.1,steps=5]", "fgsm"]\ndefenses = "none,median"\nsamples = 50\n'
        'seeds = 3\ntimeout = "2m"\n'
    )
    (options,) = resolve_grids({"samples": "7", "seeds": None}, file)
    assert options.attacks == ["pgd[eps=0.1,steps=5]", "fgsm"]
    assert options.defenses == ["none", "median"]
    assert (options.samples, options.repeats, options.seed) == (7, 3, 0)
    assert options.timeout == 120.0


def test_all_is_every_registered_name():
    assert spec_list("attack", "all") == [e.name for e in ATTACKS if e.name != "none"]
    assert spec_list("defense", "all") == [entry.name for entry in DEFENSES]
    assert spec_list("attack", "pgd[eps=0.2],all,pgd")[0] == "pgd[eps=0.2]"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3600), ("1.5h", 5400), (" 2 M ", 120), (90, 90),
     (0.5, 0.5)],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_duration(text, "--timeout") == seconds


@pytest.mark.usefixtures("fake_grid")
def test_json_is_alone_on_standard_output(program):
    done = program("grid", "--attacks", "pgd", "--json")
    document = json.loads(done.out)
    assert list(document) == ["schema", "grid", "rows", "worst"]
    assert document["schema"] == 2
    assert document["rows"][0]["attack"] == "pgd"
    assert "results in" in done.err


@pytest.mark.parametrize("status", ["failed", "timeout"])
def test_a_cell_that_failed_is_exit_code_1(program, fake_grid, status):
    fake_grid.statuses = ["ok", status]
    done = program("grid", "--attacks", "pgd")
    assert done.code == 1
    assert "1 of 2 runs failed; why stands in the table" in done.err
    again = "run the same command again with a longer --timeout"
    assert (again in done.err) == (status == "timeout")  # what is wrong would only fail again
    assert f"{status} [1]" in done.out


def test_a_skipped_cell_is_no_failure(program, fake_grid):
    fake_grid.statuses = ["ok", "skipped"]
    assert program("grid", "--attacks", "pgd").code == 0


# -- list, data, warmup ---------------------------------------------------------------------


@pytest.mark.parametrize("section", ["attack", "defense", "model"])
def test_list_names_everything_registered(program, section):
    alone, together = program("list", f"{section}s"), program("list")
    for entry in REGISTRY[section]:
        assert entry.name in alone.out
        assert entry.summary in alone.out
        assert entry.summary in together.out
    assert max(map(len, together.out.splitlines())) <= 100


def test_list_says_how_to_give_data(program):
    out = program("list", "datasets").out
    assert "mnist" in out
    assert "FOLDER" in out
    assert "FILE.npz" in out


def test_data_path_and_verify(program):
    folder = Path(program("data", "path").out.strip())
    assert len(list(folder.glob("*.gz"))) == 4
    done = program("data", "verify")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["ok"] * 4


def test_data_verify_names_what_is_wrong(program, monkeypatch):
    import fastadv.datasets

    check = fastadv.datasets.FileCheck
    checks = [
        check(Path("/a/one.gz"), True, "1", "1"), check(Path("/a/two.gz"), False, "3", "2"),
        check(Path("/a/three.gz"), False, None, "2"),
    ]  # fmt: skip
    monkeypatch.setattr(fastadv.datasets, "verify_mnist", lambda: checks)
    done = program("data", "verify")
    assert done.code == 1
    assert done.out.splitlines() == [
        "ok       one.gz", "wrong    /a/two.gz: SHA-256 is 3, has to be 2", "missing  /a/three.gz"
    ]  # fmt: skip
    assert "2 of 3 files are not right" in done.err


def test_warmup_says_how_long_and_where(program, monkeypatch):
    import fastadv.warmup
    from fastadv.kernels import _jit

    def compile_nothing(tell):
        tell("training", 0, 1)
        tell("", 1, 1)

    monkeypatch.setattr(fastadv.warmup, "warm_up", compile_nothing)
    monkeypatch.setattr(fastadv.warmup, "is_warm", lambda: False)
    done = program("warmup")
    assert done.code == 0
    assert done.out == f"compiled in 0 s; kept in {_jit.CACHE_FOLDER}\n"
    assert "compiling" in done.err


def test_completion_of_a_comma_list():
    assert complete_list("attack", "pgd,st") == ["pgd,stadv"]
    assert complete_list("attack", "pgd[eps=0.1,st") == []
    assert complete_list("defense", "al") == ["all"]
    assert "none" not in complete_list("attack", "")


@pytest.mark.parametrize("what", ["attack", "defense", "model"])
def test_the_parameters_of_every_name_are_listed_with_what_the_docstring_says(what):
    explains_itself = {"norm", "learning_rate_init"}
    for entry in REGISTRY[what]:
        for parameter in parameters_of(entry):
            assert parameter.takes
            assert parameter.text or parameter.name in explains_itself, (entry.name, parameter)
            spec = f"{entry.name}[{parameter.name}={parameter.default}]"
            if entry.name != "cnn" or TORCH:
                make(what, spec)  # the default, as it is printed, can be written


def test_list_of_one_name(program):
    done = program("list", "pgd")
    assert done.code == 0
    assert "Madry et al." in done.out
    assert "pgd[eps=0.1]" in done.out
    assert "Random starts" in done.out
    assert max(map(len, done.out.splitlines())) <= 100
    none = program("list", "none").out
    assert "none (attack)" in none
    assert "none (defense)" in none
    assert "dpa (defense, certified)" in program("list", "dpa").out


# -- attack ---------------------------------------------------------------------------------


@pytest.mark.compiled
def test_attack_on_images(program):
    done = program(
        "attack", "pgd[steps=3]", "--dataset", SMALL, "--samples", "20", "--show", "2",
        "--output", "adv.npz",
    )  # fmt: skip
    assert done.code == 0, done.err
    for part in ("accuracy before", "accuracy under linf(0.1)", "median l2", "images/s"):
        assert part in done.out
    assert done.out.count("clean: ") == done.out.count("attacked: ") == 2
    with np.load("adv.npz", allow_pickle=False) as kept:
        arrays = dict(kept)
    assert arrays["x"].shape == arrays["x_adv"].shape == (20, 784)
    assert arrays["distance_linf"].max() <= 0.1 + 1e-6
    before = np.mean(arrays["prediction"] == arrays["y"])
    after = np.mean(arrays["prediction_adv"] == arrays["y"])
    assert f"{before:.1%}" in done.out
    assert f"{after:.1%}" in done.out
    changed = (arrays["prediction_adv"] != arrays["prediction"]) & (
        arrays["prediction"] == arrays["y"]
    )
    assert np.array_equal(arrays["success"], changed)
    assert np.array_equal(arrays["is_adv"], changed)


@pytest.mark.compiled
def test_attack_draws_flows_without_matplotlib(program, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = program(
        "attack", "stadv", "--dataset", SMALL, "--samples", "10",
        "--show", "2", "--plot", "adv.svg", "--output", "adv.npz",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.count("flow: ") == 2
    drawn = Path("adv.svg").read_text()
    assert [drawn.count(f">{word}: ") for word in ("clean", "flow", "attacked", "difference")] == [
        2, 2, 2, 2
    ]  # fmt: skip
    with np.load("adv.npz", allow_pickle=False) as kept:
        assert kept["detail_flow"].shape == (10, 2, 28, 28)


@pytest.mark.compiled
def test_attack_counts_only_what_is_within_the_budget(program):
    common = ["--dataset", SMALL, "--samples", "20"]
    tight = program("attack", "stadv[steps=20,budget=0]", *common).out
    loose = program("attack", "stadv[steps=20,budget=1000]", *common).out
    accuracy = {
        name: [line.split()[-2] for line in out.splitlines() if line.strip().startswith("accuracy")]
        for name, out in (("tight", tight), ("loose", loose))
    }
    before, under = accuracy["tight"]
    assert under == before  # nothing is free
    assert float(accuracy["loose"][1].rstrip("%")) < float(before.rstrip("%"))


@pytest.mark.compiled
def test_attack_on_a_training_set(program):
    done = program(
        "attack", "label_flip[points=30]", "--dataset", SMALL, "--show", "2", "--output", "p.npz"
    )
    assert done.code == 0, done.err
    assert "30 (10.00% of 300)" in done.out
    assert "accuracy after" in done.out
    assert done.out.count("labelled ") == 2
    with np.load("p.npz", allow_pickle=False) as kept:
        assert kept["x"].shape == (30, 784)
        assert kept["index"].shape == kept["y"].shape == (30,)


@pytest.mark.compiled
def test_attack_with_a_trigger(program):
    done = program("attack", "backdoor[fraction=0.1]", "--dataset", SMALL)
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if "trigger" in line]
    shares = r" +\d+\.\d% \(\d+\.\d-\d+\.\d\) *"
    for line, name in zip(
        lines, ("trigger gets its label", r"accuracy under trigger\(0\.1\)"), strict=True
    ):
        assert re.fullmatch(rf" +{name}{shares}", line)


@pytest.mark.compiled
def test_attack_with_a_parameter_that_is_not_there(program):
    done = program("attack", "pgd[epps=1]")
    assert done.code == 2
    assert "did you mean eps?" in done.err


# -- report, after a real grid ----------------------------------------------------------------


@pytest.mark.compiled
def test_a_real_grid_and_its_report(program):
    command = [
        "grid", "--attacks", "pgd[steps=3],fgsm", "--defenses", "none,bit_depth",
        "--dataset", SMALL, "--samples", "20", "--output", "kept",
    ]  # fmt: skip
    first = program(*command)
    assert first.code == 0, first.err
    assert "worst" in first.out
    assert program("report", "kept").out == first.out
    assert (
        program("report", "kept", "--format", "markdown").out == Path("kept/table.md").read_text()
    )

    again = program(*command, "--json")
    assert "30 kept from an earlier run" in again.err
    document = json.loads(again.out)
    assert json.loads(program("report", "kept", "--format", "json").out) == document
    assert document["grid"]["attacks"] == ["none", "pgd[steps=3]", "fgsm"]
    lines = program("report", "kept", "--format", "csv").out.splitlines()
    assert len(lines) == 1 + 6


@pytest.mark.compiled
def test_report_names_a_corrupt_cell_and_shows_the_others(program, tmp_path):
    from fastadv.grid.row import Figure, Row

    cells = tmp_path / "kept" / "cells"
    cells.mkdir(parents=True)
    row = Row(id="a", dataset="mnist", model="mlp", attack="none", defense="none", seed=0,
              kind="none", n=10, attacked_accuracy=Figure.of_count(5, 10))  # fmt: skip
    (cells / "a.json").write_bytes(msgspec.json.encode(row))
    (cells / "b.json").write_text("{")
    done = program("report", "kept")
    assert done.code == 0
    assert "50.0" in done.out
    assert "cells/b.json could not be read" in done.err


def test_report_as_a_page(program, tmp_path):
    from fastadv.grid.row import Figure, Row

    cells = tmp_path / "kept" / "cells"
    cells.mkdir(parents=True)
    row = Row(id="a", dataset="mnist", model="mlp", attack="none", defense="none", seed=0,
              kind="none", n=10, attacked_accuracy=Figure.of_count(5, 10))  # fmt: skip
    (cells / "a.json").write_bytes(msgspec.json.encode(row))
    done = program("report", "kept", "--html", "page.html")
    assert done.code == 0
    assert done.out == ""
    assert "page in page.html" in done.err
    assert "<td>50.0</td>" in (tmp_path / "page.html").read_text()
    assert program("report", "kept", "--html", "absent/page.html").code == 2
    assert program("report", "kept", "--html", "kept").code == 2
