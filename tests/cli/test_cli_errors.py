"""Every mistake is one line that says what would be right; exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from fastadv.cli.app import main
from fastadv.errors import DivergenceError, InputError

LONG = "x" * 300
MISTAKES = [
    (["grid", "--attacks", "pgd", "--model", LONG], "no model 'xxx"),
    (["grid", "--attacks", "pgd", "--model", f"{LONG}.npz"], "there is no file xxx"),
    (["attack", "pgd", "--model", "~nobody-of-this-name/m.npz"], "there is no file ~nobody"),
    (["report", LONG], "...: File name too long"),
    (["compare", LONG, LONG], "...: File name too long"),
    (["status", LONG], "...: File name too long"),
    (["data", "fetch", "kmnist", "--to", "~nobody-of-this-name/x"], "there is no such home folder"),
    (["grid", "--attacks", ""], "--attacks: the list of attacks is empty"),
    (["grid", "--attacks", "stdav"], "did you mean stadv?"),
    (["grid", "--attacks", "PGD"], "did you mean pgd?"),
    (["grid", "--attacks", "pgd,stdav[tau=1]"], "did you mean stadv?"),
    (["grid", "--attacks", "pgd,"], "an empty part between its commas"),
    (["grid", "--attacks", "pgd[eps=0.1"], "brackets"),
    (["grid", "--attacks", "pgd[eps]"], "param=value"),
    (["grid", "--attacks", "pgd", "--defenses", "medain"], "did you mean median?"),
    (["grid", "--attacks", "pgd", "--defenses", "adv_training[attack=pdg]"], "did you mean pgd?"),
    (["grid", "--attacks", "pgd", "--model", "mpl"], "did you mean mlp?"),
    (["grid", "--attacks", "pgd", "--samples", "-1"], "--samples has to be at least 1, got -1"),
    (["grid", "--attacks", "pgd", "--samples", "abc"], "--samples has to be a whole number"),
    (["grid", "--attacks", "pgd", "--samples", "a\udcff"], "got 'a\\udcff', which is not UTF-8"),
    (["grid", "--attacks", "pgd", "--samples", "1.5"], "--samples has to be a whole number"),
    (["grid", "--attacks", "pgd", "--seeds", "0"], "--repeats has to be at least 1, got 0"),
    (["grid", "--repeats", "0"], "--repeats has to be at least 1, got 0"),
    (["grid", "--repeats", "all"], "--repeats has to be a whole number, got 'all'"),
    (
        ["report", ".", "--html", "x.html", "--details"],
        "--html is a form of its own: leave out --details",
    ),
    (["report", ".", "--details", "--format", "csv"], "--details is of tables; csv has everything"),
    (["grid", "--attacks", "pgd", "--seed", "-1"], "--seed has to be at least 0, got -1"),
    (["grid", "--attacks", "pgd", "--jobs", "0"], "--jobs has to be at least 1, got 0"),
    (["grid", "--attacks", "pgd", "--timeout", "soon"], "--timeout has to be a time such as 90"),
    (["grid", "--attacks", "pgd", "--timeout", "0"], "--timeout has to be a time such as 90"),
    (["grid", "--attacks", "pgd", "--config", "absent.toml"], "absent.toml cannot be read"),
    (["grid", "--atacks", "pgd"], "did you mean --attacks?"),
    (["grid", "--attacks"], "requires an argument. See fastadv grid --help"),
    (["grid", "--attacks", "pgd", "extra"], "extra"),
    (["gird"], "grid"),
    (["list", "atacks"], "did you mean attacks?"),
    (["list", "pdg"], "did you mean pgd?"),
    (["attack", "label_flip", "--plot", "x.png"], "--plot draws attacked images"),
    (
        ["report", ".", "--html", "x.html", "--format", "csv"],
        "--html is a form of its own: leave out --format",
    ),
    (
        ["report", ".", "--html", "x.html", "--samples"],
        "--html is a form of its own: leave out --samples",
    ),
    (["report", ".", "--format", "latex", "--details"], "--details is of table and markdown"),
    (["report", ".", "--samples"], "--samples is of data: give --format csv, parquet or json"),
    (["report", ".", "--runs", "--format", "latex"], "--runs is of data: give --format csv"),
    (["report", ".", "--runs", "--samples", "--format", "csv"], "give one of --runs and --samples"),
    (
        ["report", ".", "--output", "x.txt"],
        "--output x.txt: give --format, or a name that ends in .json",
    ),
    (["report", ".", "--output", "x.csv", "--format", "table"], "the table is for the terminal"),
    (["report", ".", "--output", "absent/x.csv"], "there is no folder absent"),
    (["report", ".", "--output", "."], "is a folder"),
    (["attack"], "NAME"),
    (["attack", "none"], "not an attack"),
    (["attack", "stdav"], "did you mean stadv?"),
    (["attack", "pgd", "--samples", "0"], "--samples has to be at least 1, got 0"),
    (["attack", "pgd", "--show", "-1"], "--show has to be at least 0, got -1"),
    (["attack", "pgd", "--output", "."], "is a folder"),
    (["attack", "pgd", "--output", "absent/x.npz"], "there is no folder absent"),
    (["attack", "pgd", "--plot", "absent/x.png"], "there is no folder absent"),
    (["report", "--plot", "x.png"], "--plot x.png: the name has to end in .svg"),
    (["report", "--plot", "absent/x.svg"], "there is no folder absent"),
    (["report", "--plot", "x.svg", "--html", "x.html"], "is a form of its own: leave out --plot"),
    (["report", "--plot", "x.svg", "--format", "csv"], "leave out --format"),
    (["grid", "--model", f"{'x' * 400}.npz"], f"there is no file {'x' * 400}.npz"),
    (["grid", "--model", "~nobody-of-that-name/m.npz"], "there is no file ~nobody-of-that-name/"),
    (["grid", "--timeout", "9" * 400], "--timeout has to be a time such as 90"),
    (["attack", "pgd", "--plot", "x.jpg"], "has to end in one of .svg, .png, .pdf"),
    (["report", "absent"], "there is no folder absent"),
    (["report"], "there is no folder fastadv-results"),
    (
        ["report", ".", "--format", "tabel"],
        "'table', 'json', 'csv', 'markdown', 'latex', 'parquet'",
    ),
    (["reproduce", "stadv2018", "--output", "/dev/null"], "cannot make the folder /dev/null"),
    (["data"], "Missing command"),
    (["data", "verfy"], "verify"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(program, arguments, says):
    done = program(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("fastadv: ")
    assert says in done.err


BAD_FILES = [
    ("attacks = = 1", "grid.toml is not valid TOML"),
    ('attacks = "pgd"\nsampels = 3', "no key 'sampels'; did you mean samples?"),
    ('attacks = "pgd"\nfresh = true', "no key 'fresh'"),
    ('attacks = ["stdav"]', "grid.toml: attacks: no attack 'stdav'; did you mean stadv?"),
    ("attacks = 3", "grid.toml: attacks has to be a list of names, got 3"),
    ("attacks = [1, 2]", "grid.toml: attacks has to be a list of names"),
    ("attacks = []", "the list of attacks is empty"),
    ('attacks = "pgd"\nsamples = 0', "grid.toml: samples has to be at least 1, got 0"),
    ('attacks = "pgd"\nsamples = 2.5', "grid.toml: samples has to be a whole number, got 2.5"),
    ('attacks = "pgd"\nseeds = true', "grid.toml: seeds has to be a whole number, got true"),
    ('attacks = "pgd"\ntimeout = true', "grid.toml: timeout has to be a time such as"),
    ('attacks = "pgd"\nmodel = 3', "grid.toml: model has to be text, or a list of texts, got 3"),
    ('attacks = "pgd"\nmodel = "mpl"', "did you mean mlp?"),
    (f"samples = 0x{'f' * 5000}", "grid.toml: samples has to be a whole number below 2^63, got a nu"),
    (f"timeout = 0x{'f' * 5000}", "grid.toml: timeout has to be a time such as"),
    (f"timeout = {'9' * 400}", "grid.toml: timeout has to be a time such as"),
    (f"output = 0x{'f' * 5000}", "grid.toml: output has to be text, got a number of thousands of"),
    (f"attacks = [0x{'f' * 5000}]", "grid.toml: attacks has to be a list of names, got a number"),
    (".".join("a" * 5000) + " = 1", "is not valid TOML: a name of more than a hundred parts"),
    ("[" * 5000, "grid.toml is not valid TOML"),
    ("#" * 300_000, "grid.toml is too long for options: more than 256 KiB"),
    ('repeats = 2\nseeds = 2', "give one of repeats and seeds, which are the same, not both"),
]  # fmt: skip


LATER = [  # what only the libraries, once they are loaded, can tell
    (["grid", "--attacks", "pgd[norm=a\udcff]"], "got 'a\\udcff', which is not UTF-8"),
    (["grid", "--attacks", "backdoor[target=a\udcff]"], "got 'a\\udcff', which is not UTF-8"),
    (
        ["grid", "--attacks", "pgd", "--model", "mlp[hidden_layer_sizes=a\udcff]"],
        "which is not UTF-8",
    ),
    (["grid", "--attacks", "pgd", "--model", "cnn[channels=a\udcff]"], "which is not UTF-8"),
    (
        ["grid", "--attacks", "pgd[eps=" + "9" * 300_000 + "]"],
        "is too long for a spec: 300,009 char",
    ),
    (
        ["grid", "--attacks", "pgd,fgsm", "--dataset", "x" * 300_000],
        "is too long for a spec: 300,000",
    ),
    (
        ["grid", "--attacks", "spatial[samples=" + "10" * 20_000 + "e]"],
        "samples has to be a whole number, got '1010101010",
    ),
    (["grid", "--attacks", "pgd", "--dataset", "x" * 400], "cannot be read (File name too long)"),
    (["grid", "--attacks", "pgd", "--dataset", "a\x85b/c"], "there is no file or folder a b/c"),
    (["data", "show", "x" * 400], "cannot be read (File name too long)"),
    (["grid", "--attacks", "pgd", "--seed", "5e9"], "seeds have to be below 4294967296"),
    (["attack", "pgd", "--seed", "5e9"], "random_state has to be from 0 to 4294967295"),
]


@pytest.mark.parametrize(("arguments", "says"), LATER)
def test_a_mistake_in_a_parameter_is_the_last_line(program, arguments, says):
    done = program(*arguments)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("fastadv: ")
    assert says in done.err.splitlines()[-1]


@pytest.mark.parametrize(("text", "says"), BAD_FILES)
def test_a_mistake_in_the_file_is_one_line_and_exit_code_2(program, tmp_path, text, says):
    (tmp_path / "grid.toml").write_text(text)
    done = program("grid", "--config", "grid.toml")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert says in done.err


def test_a_file_that_is_not_text(program, tmp_path):
    (tmp_path / "grid.toml").write_bytes(b"\xff\xfe")
    done = program("grid", "--config", "grid.toml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is not valid TOML" in done.err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InputError("pgd: eps has\nto be"), 2, "fastadv: pgd: eps has to be\n"),
        (DivergenceError("training diverged"), 1, "fastadv: training diverged\n"),
        (OSError(28, "No space left"), 1, "fastadv: No space left\n"),
        (OSError(28, "No space left", "a/b.npz"), 1, "fastadv: a/b.npz: No space left\n"),
        (ZeroDivisionError("by\nzero"), 1,
         "fastadv: ZeroDivisionError: by zero (run with --debug for the traceback)\n"),
        (AssertionError(), 1, "fastadv: AssertionError (run with --debug for the traceback)\n"),
        (MemoryError(), 1, "fastadv: MemoryError (run with --debug for the traceback)\n"),
    ],
)  # fmt: skip
def test_what_an_error_says(program, fake_grid, error, code, says):
    fake_grid.error = error
    done = program("grid", "--attacks", "pgd")
    assert done.code == code
    assert done.err.endswith(says)
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize("position", [0, 1, 3])
def test_debug_shows_the_traceback_wherever_it_stands(program, fake_grid, position):
    fake_grid.error = InputError("no")
    arguments = ["grid", "--attacks", "pgd"]
    arguments.insert(position, "--debug")
    done = program(*arguments)
    assert done.code == 2
    assert "Traceback" in done.err


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(program, fake_grid):
    fake_grid.error = KeyboardInterrupt()
    done = program("grid", "--attacks", "pgd", "--output", "there")
    assert done.code == 130
    assert done.err.endswith(
        "fastadv: stopped; the finished cells are kept in there: "
        "run the same command again to go on\n"
    )
    done = program("grid", "--attacks", "pgd", "--fresh")
    assert "run the same command again without --fresh to go on" in done.err


def test_ctrl_c_elsewhere(program, monkeypatch):
    import fastadv.datasets

    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(fastadv.datasets, "verify_mnist", stop)
    done = program("data", "verify")
    assert (done.code, done.err) == (130, "fastadv: stopped\n")


@pytest.mark.parametrize(
    "arguments",
    [("attack", "pgd", "--plot", "x.png"), ("bench", "--suite", "scaling", "--plot", "x.svg")],
)
def test_a_plot_without_matplotlib_says_what_to_install(program, monkeypatch, arguments):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = program(*arguments)
    assert done.code == 2
    assert "pip install matplotlib" in done.err


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("arguments", "code"), [("list", 0), ("report absent", 2)])
def test_a_closed_stream_is_like_the_null_device(closed, arguments, code, tmp_path):
    command = f"exec {sys.executable} -m fastadv {arguments} {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == code
    assert b"Error" not in done.stderr


no_device = not Path("/dev/full").exists()


@pytest.mark.skipif(no_device, reason="there is no full device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("arguments", "code"), [("warmup 2>/dev/full", 0), ("report absent 2>/dev/full", 2)]
)
def test_messages_that_cannot_be_written_change_nothing(arguments, code, unbuffered, tmp_path):
    assert ended(arguments, unbuffered, tmp_path).returncode == code


@pytest.mark.skipif(no_device, reason="there is no full device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["list", "--version"])
def test_results_that_cannot_be_written_are_one_line(command, unbuffered, tmp_path):
    done = ended(f"{command} >/dev/full", unbuffered, tmp_path)
    assert (done.returncode, done.stderr) == (1, b"fastadv: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such pipe")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["list", "--version"])
def test_results_that_nobody_reads_end_without_a_word(command, unbuffered, tmp_path):
    reads, writes = os.pipe()
    os.close(reads)
    done = ended(command, unbuffered, tmp_path, stdout=writes)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, b"")


def ended(arguments, unbuffered, folder, stdout=subprocess.PIPE):
    """The program that a shell has run, with what a stream is given at once or at its end."""
    return subprocess.run(
        f"exec {sys.executable} -m fastadv {arguments}", shell=True, cwd=folder, check=False,
        stdout=stdout, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    code = "import os; from fastadv.cli.app import main; main(['list']); "
    code += "os.write(3, b'%d' % open('x', 'w').fileno())"
    command = f'exec 3>&1 >&- 2>&-; exec {sys.executable} -c "{code}"'
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=False)
    assert int(done.stdout) > 3


def test_a_warning_of_a_library_is_one_line_once(monkeypatch, capsys):
    def app(*_, **__):
        for _ in range(2):
            warnings.warn("beware\n of this", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("fastadv.cli.app.app", app)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["list"]) == 0
        shown = warnings.showwarning
    assert capsys.readouterr().err == "fastadv: beware of this\n"
    assert shown is not None
    assert "warnings_in_a_line" not in getattr(shown, "__qualname__", "")  # put back
