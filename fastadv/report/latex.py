r"""A grid as tables for LaTeX: `\input` in an article, with booktabs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fastadv.report.latex_text import latex
from fastadv.report.summary import BEST, Entry, Line, Summary, summaries
from fastadv.report.table import wrap
from fastadv.report.verdict import verdict

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult

_WIDTH = 88  # of a block in letters of \footnotesize, which article's lines have room for
_BOLD = 1.15  # times as wide
_NAME_WIDTH = 26  # of attacks; a longer one goes on in the next line
_COLUMN_WIDTH = 13  # of a defense's name
_HEAD = r"""% Made by fastadv report --format latex. Needs booktabs, and LaTeX of 2020 or later.
% A figure and half of its 95 % interval in each cell. Bold and *: the best of its row, and what is
% not told from it. !: not to be trusted. The text below the table belongs to it.
"""


def grid_latex(result: GridResult) -> str:
    """Return the table of a grid, as `fastadv.report.summary_table.summary_table` shows it.

    Wide ones are several, each a float of its own; the last has the caption's text, the verdict and
    the notes beneath.
    """
    floats: list[str] = []
    for sheet in summaries(result):
        said = [*verdict(sheet, result.samples), *(f"{n.mark} {n.text}" for n in sheet.notes)]
        blocks = _blocks(sheet)
        for number, block in enumerate(blocks, start=1):
            last = number == len(blocks)
            part = f" ({number} of {len(blocks)})" if len(blocks) > 1 else ""
            beneath = [sheet.caption, *said] if last else []
            floats.append(_float(sheet, block, part, beneath, len(floats) + 1))
    return _HEAD + "\n".join(floats)


def _float(
    sheet: Summary, block: Sequence[int], part: str, beneath: Sequence[str], number: int
) -> str:
    lines = [
        r"\begin{table}[tbp]",
        r"\centering",
        rf"\caption{{{latex(sheet.title + part)}}}",
        rf"\label{{tab:fastadv-{number}}}",
        r"\smallskip",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        *_tabular(sheet, block),
    ]
    if beneath:
        lines += ["", r"\medskip", r"\begin{minipage}{\linewidth}", r"\raggedright"]
        lines += [rf"{latex(text)}\par" for text in beneath]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _tabular(sheet: Summary, block: Sequence[int]) -> Iterator[str]:
    yield rf"\begin{{tabular}}{{l{'r' * len(block)}}}"
    yield r"\toprule"
    yield _row("", [_header(sheet.defenses[column]) for column in block])
    for section in sheet.sections:
        yield r"\midrule"
        if section.heading:
            heading = rf"\textit{{{latex(section.heading)}}}"
            yield rf"\multicolumn{{{len(block) + 1}}}{{l}}{{{heading}}} \\"
        for line in section.lines:
            *above, last = _label(line)
            for part in above:
                yield _row(latex(part), [""] * len(block))
            indent = r"\quad " if above else ""
            yield _row(indent + latex(last), [_entry(line.entries[column]) for column in block])
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _row(label: str, cells: Sequence[str]) -> str:
    return rf"{' & '.join([label, *cells])} \\"


def _header(defense: str) -> str:
    lines = r" \\ ".join(latex(part) for part in wrap(defense, _COLUMN_WIDTH))
    return rf"\shortstack[r]{{{lines}}}"


def _label(line: Line) -> list[str]:
    """Return the lines of an attack's name."""
    if len(line.label) <= _NAME_WIDTH:
        return [line.label]
    return [*wrap(line.name, _NAME_WIDTH), *([line.threat] if line.threat else [])]


def _entry(entry: Entry) -> str:
    """Return a figure, with its mark in the margin of its column, so that digits stand in line."""
    figure = entry.text if entry.figure is None else entry.text.replace("-", "−")
    text = latex(f"{BEST * entry.best}{figure}")
    text = rf"\textbf{{{text}}}" if entry.best else text
    return text + (rf"\rlap{{{latex(entry.mark)}}}" if entry.mark else "")


def _blocks(sheet: Summary) -> list[list[int]]:
    """Return the columns of each block, so that none is wider than a column of text."""
    names = max((len(part) for line in sheet.lines for part in _label(line)), default=0)
    blocks: list[list[int]] = [[]]
    left = free = _WIDTH - names - 2.0  # before a part of a name
    for column, defense in enumerate(sheet.defenses):
        widths = [
            *map(len, wrap(defense, _COLUMN_WIDTH)),
            *(_width(line.entries[column]) for line in sheet.lines),
        ]
        needs = max(widths) + 2
        if needs > left and blocks[-1]:
            blocks.append([])
            left = free
        blocks[-1].append(column)
        left -= needs
    return blocks


def _width(entry: Entry) -> float:
    return _BOLD * (len(entry.text) + 1) if entry.best else len(entry.text)
