"""Two grids beside each other: as a table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.grid.ranking import LEVEL
from fastadv.report.compare import Comparison, Sides, untold
from fastadv.report.pairs import Pair
from fastadv.report.prose import Prose
from fastadv.report.table import wrap
from fastadv.visible import visible_json

SCHEMA = 2
_WIDTH = 16  # of the columns of specs; a longer one goes on in the next line


def compare_table(comparison: Comparison) -> RenderableType:
    """Return a line for each cell, and what else is not the same."""
    table = Table(box=box.SIMPLE_HEAD, title=title(comparison), title_justify="left")
    several = any(pair.runs > 1 for pair in comparison.pairs)
    table.add_column("attack", overflow="fold")
    table.add_column("defense", overflow="fold")
    if several:
        table.add_column("runs", justify="right", no_wrap=True)
    for name in ("before", "after", "differ", "lost/won", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    problems = list(dict.fromkeys(pair.problem for pair in comparison.pairs if pair.problem))
    for pair in comparison.pairs:
        runs = [str(pair.runs)] if several else []
        names = ["\n".join(wrap(spec, _WIDTH)) for spec in (pair.attack, pair.defense)]
        table.add_row(*map(Text, names), *runs, *_figures(pair), _verdict(pair, problems))
    reasons = Prose([(f"[{number}] ", text) for number, text in enumerate(problems, start=1)])
    legend = Prose([("", _legend(comparison.pairs))], style="dim")
    return Group(table, legend, reasons, listed_notes([*comparison.notes, *untold(comparison)]))


def _legend(pairs: Sequence[Pair]) -> str:
    counts = sorted({pair.n for pair in pairs if pair.n})
    if not counts:
        return "Accuracy in % under the attack, before and after. Not one cell could be compared."
    images = f"{counts[0]:,} to {counts[-1]:,}" if len(counts) > 1 else f"{counts[0]:,}"
    sentences = [
        "Accuracy in % under the attack, before and after, over the test images that both have "
        f"({images}). lost/won: images that fewer runs are right on after, and more"
    ]
    scopes = {pair.scope for pair in pairs}
    if "runs" in scopes:
        sentences.append(
            "p: a t test of the difference over runs, paired where both have the same, that counts "
            "trainings and test images"
        )
    if "this model" in scopes:
        sentences.append(
            "p of one run: McNemar's exact test on the images of one trained model, and for this "
            "model only"
        )
    if scopes != {None}:
        level = f"significant at {100 * LEVEL:g} %, by Holm over all cells together"
        sentences.append(f"better and worse: {level}")
    if any(pair.unknown for pair in pairs):
        sentences.append("unknown: another training, or another draw of poison, may say otherwise")
    return ". ".join(sentences) + "."


def title(comparison: Sides) -> Text:
    """Return what is compared."""
    return Text(f"{comparison.before} -> {comparison.after}", style="bold")


def _figures(pair: Pair) -> list[str]:
    difference = pair.difference
    return [
        _percent(pair.before),
        _percent(pair.after),
        "" if difference is None else f"{100 * difference:+.1f}",
        "" if pair.p_value is None else f"{pair.lost}/{pair.won}",
        "" if pair.p_value is None else _p(pair.p_value),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _p(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _verdict(pair: Pair, problems: Sequence[str]) -> Text:
    if pair.problem is not None:
        return Text(f"[{problems.index(pair.problem) + 1}]", style="red")
    if pair.unknown is not None:
        return Text(f"unknown ({pair.unknown})", style="dim")
    if not pair.significant:
        return Text("")
    only = " (this model only)" if pair.scope == "this model" else ""
    word, style = ("worse", "red") if pair.worse else ("better", "green")
    return Text(word + only, style=style)


def listed_notes(notes: Sequence[str]) -> RenderableType:
    """Return a paragraph for each note."""
    return Prose([("- ", note) for note in notes])


def compare_json(comparison: Comparison, failures: Sequence[str]) -> str:
    """Return one document: the sides, each pair with its verdict, the notes, what fails."""
    pairs = [
        msgspec.to_builtins(pair) | {"difference": pair.difference, "significant": pair.significant}
        for pair in comparison.pairs
    ]
    return comparison_json("grid", comparison, pairs, failures)


def comparison_json(
    kind: str, comparison: Sides, pairs: Sequence[dict[str, Any]], failures: Sequence[str]
) -> str:
    """Return the document of a comparison of any kind."""
    document = {
        "schema": SCHEMA, "kind": kind, "before": comparison.before, "after": comparison.after,
        "pairs": pairs, "notes": comparison.notes, "failures": failures,
    }  # fmt: skip
    return visible_json(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
