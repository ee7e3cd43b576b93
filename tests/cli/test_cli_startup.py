"""What answers at once: nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastadv

HEAVY = ("numpy", "numba", "scipy", "sklearn")

_SCRIPT = """
import sys
from fastadv.cli.app import main
code = main(sys.argv[2:])
heavy = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.exit(f"imported {heavy}" if heavy else code)
"""


def run_light(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, ",".join(HEAVY), *arguments],
        capture_output=True, text=True, timeout=60, env=environment or None, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["-h"], ["grid", "-h"], ["--version"], ["list"], ["list", "attacks"], ["list", "datasets"], [],
     ["grid", "--help"], ["compare", "--help"], ["attack", "--help"], ["report", "--help"], ["warmup", "--help"],
     ["reproduce", "--help"], ["reproduce"],
     ["data", "--help"]],
)  # fmt: skip
def test_answers_without_heavy_imports(arguments):
    done = run_light(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "imported" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["grid", "--attacks", "stdav"], ["grid", "--attacks", "pgd", "--samples", "-1"],
     ["attack", "stdav"], ["grid", "--repeats", "0"], ["grid", "--attacks", "pgd", "--defenses", "medain"],
     ["grid", "--attacks", "pgd", "--model", "mpl"], ["reproduce", "bigio2012"]],
)  # fmt: skip
def test_a_mistake_answers_without_heavy_imports(arguments):
    done = run_light(*arguments)
    assert done.returncode == 2
    assert "imported" not in done.stderr


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("fastadv grid --attacks pgd,st", ["pgd,stadv"]), ("fastadv attack bi", ["biggio"]),
        ("fastadv list me", ["median", "mean"]), ("fastadv list mod", ["models"]),
    ],
)  # fmt: skip
def test_completion_without_heavy_imports(words, completed):
    import os

    done = run_light(
        **os.environ, _FASTADV_COMPLETE="complete_bash", COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )  # fmt: skip
    assert done.stdout.split() == completed
    assert "imported" not in done.stderr


def test_python_m_fastadv():
    done = subprocess.run(
        [sys.executable, "-m", "fastadv", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"fastadv {fastadv.__version__}\n"


def test_python_m_fastadv_hands_on_the_exit_code():
    done = subprocess.run(
        [sys.executable, "-m", "fastadv", "list", "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_reader_that_leaves_early_meets_no_traceback():
    reading = subprocess.Popen(
        [sys.executable, "-m", "fastadv", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    reading.stdout.close()
    assert b"Traceback" not in reading.stderr.read()
    reading.stderr.close()
    reading.wait(timeout=60)


def test_a_stream_without_the_characters_gets_question_marks(tmp_path):
    import os

    done = subprocess.run(
        [sys.executable, "-m", "fastadv", "report", str(tmp_path / "é")],
        capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith(b"/?\n")
