"""Two grids, or two benchmarks, beside each other: as a table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.report.compare import Comparison, untold
from fastadv.report.compare_bench import ALLOWED, BenchComparison, RatioPair
from fastadv.report.pairs import LEVEL, Pair
from fastadv.report.table import wrap

SCHEMA = 1
_WIDTH = 20  # of the columns of specs; a longer one goes on in the next line


def compare_table(comparison: Comparison) -> RenderableType:
    """Return a line for each cell, and what else is not the same."""
    table = Table(box=box.SIMPLE_HEAD, title=_title(comparison), title_justify="left")
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
    reasons = [Text(f"[{number}] {text}") for number, text in enumerate(problems, start=1)]
    legend = Text(_legend(comparison.pairs), style="dim")
    return Group(table, legend, *reasons, *_notes([*comparison.notes, *untold(comparison)]))


def _legend(pairs: Sequence[Pair]) -> str:
    counts = sorted({pair.n for pair in pairs if pair.n})
    if not counts:
        return "Accuracy in % under the attack, before and after. Not one cell could be compared."
    images = f"{counts[0]:,} to {counts[-1]:,}" if len(counts) > 1 else f"{counts[0]:,}"
    sentences = [
        "Accuracy in % under the attack, before and after, over the test images that both have "
        f"({images}). lost/won: images that only before were right, that only after are"
    ]
    scopes = {pair.scope for pair in pairs}
    if "runs" in scopes:
        sentences.append(
            "p: a t test of the difference over runs, paired by seed, that counts trainings and "
            "test images"
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


def _title(comparison: Comparison | BenchComparison) -> Text:
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


def bench_compare_table(comparison: BenchComparison) -> RenderableType:
    """Return a line for each ratio, and what else is not the same."""
    table = Table(box=box.SIMPLE_HEAD, title=_title(comparison), title_justify="left")
    table.add_column("work", overflow="fold")
    table.add_column("against", overflow="fold")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("our quality", overflow="fold")
    for pair in comparison.pairs:
        change = "" if pair.change is None else f"{100 * pair.change:+.0f} %"
        table.add_row(
            Text(pair.race),
            Text(pair.runner),
            _times(pair.before),
            _times(pair.after),
            Text(change, style="red" if pair.worse else ""),
            Text(pair.quality),
        )
    legend = (
        "How many times faster than the other, the median over rounds. Worse by more than "
        f"{100 * ALLOWED:g} % is a regression."
    )
    return Group(table, Text(legend, style="dim"), *_notes(comparison.notes))


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3g}x"


def _notes(notes: Sequence[str]) -> list[RenderableType]:
    return [Text(f"- {note}") for note in notes]


def compare_json(comparison: Comparison | BenchComparison, failures: Sequence[str]) -> str:
    """Return one document: the sides, each pair with its verdict, the notes, what fails."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "grid" if isinstance(comparison, Comparison) else "bench",
        "before": comparison.before,
        "after": comparison.after,
        "pairs": [_record(pair) for pair in comparison.pairs],
        "notes": comparison.notes,
        "failures": failures,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode()


def _record(pair: Pair | RatioPair) -> dict[str, Any]:
    record: dict[str, Any] = msgspec.to_builtins(pair)
    if isinstance(pair, Pair):
        return record | {"difference": pair.difference, "significant": pair.significant}
    return record | {"change": pair.change, "regression": pair.worse}
