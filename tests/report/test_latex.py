"""The table for LaTeX: any name is text, and it compiles where there is a LaTeX."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hostile import NAMES, TEXTS, hostile_grid
from hypothesis import given
from made_grids import cleaned, default_grid, evaded, kept, poisoned
from made_rows import clean, evasion, result, undone

from fastadv.report import latex_text
from fastadv.report.latex import grid_latex
from fastadv.report.latex_text import latex
from fastadv.visible import visible

# All that the text may be made of: nothing in it opens, ends or calls anything.
TOKENS = re.compile(
    r"""[A-Za-z0-9 !()+./:;=?@,-] | ~ | \{\} | \\[{}$&#%_] | \{[*\[\]]\} | \{\\char34\}
    | \\[A-Za-z]+\{\} | \$(?:\\[a-z]+|\^\\circ|-)\$ | \\[`'^~=."uHvrdcb]\{(?:[A-Za-z]|\\[ij])\}
    | \\texttt\{U\+[0-9A-F]{4,6}\}""",
    re.VERBOSE,
)

DOCUMENT = r"""\documentclass{article}
%s
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@given(TEXTS)
def test_any_text_is_made_of_what_prints(text: str) -> None:
    out = latex(text)
    assert out.isascii()
    assert TOKENS.sub("", out) == ""


@given(TEXTS, TEXTS)
def test_other_texts_are_printed_otherwise(one: str, two: str) -> None:
    shown = [unicodedata.normalize("NFC", visible(text)).replace("µ", "μ") for text in (one, two)]
    assert (latex(one) == latex(two)) == (shown[0] == shown[1])


def test_names_as_they_are_written() -> None:
    assert latex("a_b%c&d#e$f{g}") == r"a\_b\%c\&d\#e\$f\{g\}"
    assert latex("~^\\") == r"\textasciitilde{}\textasciicircum{}\textbackslash{}"
    assert latex("<script>") == r"\textless{}script\textgreater{}"
    assert latex("[x]*") == "{[}x{]}{*}"
    assert latex("a--b-c") == "a-{}-b-c"
    assert latex("é ï Ł ß ő") == r"\'{e} \"{\i} \L{} \ss{} \H{o}"
    assert latex("中") == r"\texttt{U+4E2D}"
    assert latex("e\u0301") == latex("é")
    assert latex("\x1b\n") == r"\textbackslash{}x1b\textbackslash{}n"


def test_the_table_says_what_the_terminal_says(tmp_path: Path) -> None:
    text = grid_latex(default_grid(tmp_path))
    lines = text.splitlines()
    assert (
        lines[0]
        == r"% Made by fastadv report --format latex. Needs booktabs, and LaTeX of 2020 or later."
    )
    (pgd,) = (line for line in lines if line.startswith("pgd"))
    assert pgd.count("&") == 5
    assert r"\textbf{{*}84.8$\pm$3.1}" in pgd
    assert pgd.count(r"\textbf") == 1
    assert any("points of clean accuracy lost to 3 \\% poison" in line for line in lines)
    assert any(line.startswith("Accuracy in \\%") for line in lines)
    assert any(line.startswith("Against pgd linf 0.1 adv\\_training is best") for line in lines)


def test_why_a_cell_has_no_figure_stands_below_it() -> None:
    rows = [
        clean(),
        undone(evasion(), "failed", "100 % of $x_1$"),
        undone(evasion("fgsm"), "skipped", "b"),
    ]
    text = grid_latex(result(rows))
    assert "& failed {[}1{]} \\\\" in text
    assert r"{[}1{]} 100 \% of \$x\_1\$\par" in text


def test_a_figure_below_zero_has_a_minus(tmp_path: Path) -> None:
    grid = kept(tmp_path, cleaned("none", 0.9, 2), poisoned("biggio", "none", -0.05, 0.01, 2))
    (line,) = (line for line in grid_latex(grid).splitlines() if line.startswith("biggio &"))
    assert "& $-$" in line


def wide_grid(folder: Path) -> str:
    names = [f"defense_{number}[strength=0.{number}]" for number in range(14)]
    cells = [cleaned(name, 0.97, 2) for name in ["none", *names]]
    cells += [evaded("pgd", name, 0.4, 2) for name in ["none", *names]]
    cells += [poisoned("biggio", name, 0.02, 0.01, 2) for name in ["none", *names]]
    return grid_latex(kept(folder, *cells))


def test_fifteen_defenses_are_several_tables(tmp_path: Path) -> None:
    text = wide_grid(tmp_path)
    n = text.count(r"\begin{tabular}{")
    assert n > 2
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == n
    assert text.count("pgd linf 0.1 &") == n
    assert all(f"5 runs ({k} of {n})".replace("5", "2") in text for k in range(1, n + 1))
    assert len(set(re.findall(r"\\label\{(.*)\}", text))) == n
    assert text.count(r"\begin{minipage}") == 1
    assert text.index(r"\begin{minipage}") > text.rindex(r"\end{tabular}")


# -- compiled -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pdflatex() -> str:
    found = shutil.which("pdflatex")
    if found is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-recommended)")
    installed = subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False)
    if installed.returncode:
        pytest.skip("booktabs is not installed (Debian: texlive-latex-recommended)")
    return found


def compiled(pdflatex: str, folder: Path, body: str, preamble: str = "") -> str:
    """The log of a document, which has to compile."""
    (folder / "a.tex").write_text(DOCUMENT % (preamble, body))
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "a.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "a.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log


def test_the_default_table_compiles_within_a_column(pdflatex: str, tmp_path: Path) -> None:
    log = compiled(pdflatex, tmp_path, grid_latex(default_grid(tmp_path / "grid")))
    assert "Overfull" not in log


def test_wide_tables_compile_within_a_column(pdflatex: str, tmp_path: Path) -> None:
    log = compiled(pdflatex, tmp_path, wide_grid(tmp_path / "grid"))
    assert "Overfull" not in log


@pytest.mark.parametrize("preamble", ["", r"\usepackage[T1]{fontenc}"])
def test_hostile_names_compile(pdflatex: str, tmp_path: Path, preamble: str) -> None:
    """So does every character that has a command, letters with each accent among them."""
    letters = [
        unicodedata.normalize("NFC", letter + mark)
        for mark in latex_text._ACCENTS
        for letter in map(chr, range(65, 123))
        if letter.isalpha()
    ]
    commands = map(chr, [*range(32, 127), *(ord(c) for c in latex_text._COMMANDS)])
    characters = [*commands, *(c for c in letters if len(c) == 1)]
    beside = "\n\n".join(latex(f"{c}{c} x{c}y") for c in characters)
    table = grid_latex(hostile_grid(tmp_path / "grid"))
    log = compiled(pdflatex, tmp_path, table + beside, preamble)
    assert "Missing character" not in log
    assert all(latex(name.strip()) in re.sub(r"\s+", " ", table) for name in NAMES[:2])
