"""A cell's whole story for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text

from fastadv.report import harm
from fastadv.report.cells import percent
from fastadv.report.changes_text import changes_text
from fastadv.report.notes import FLAG, NOTE
from fastadv.report.prose import Prose
from fastadv.report.story import QUANTILES, Distance, Histogram, Outcome, Stated, Story, value_text
from fastadv.report.terminal_image import beside, image_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from fastadv.report.gallery import Picture

_SHOWN = 6  # images
_LEAST = 18  # columns of an image, below which fewer stand beside one another
_CAPTION = 14  # columns that a caption needs
_GAP = 2
_BARS = " ▁▂▃▄▅▆▇█"
_BINS, _HEIGHT = 36, 3  # columns and lines of the histogram

Part = Iterator["RenderableType"]


class StoryView:
    """What is known of one cell; the command that computes it again is the caller's to print.

    Parameters
    ----------
    story : Story
    blocks : bool
        Draw images as coloured blocks; else as characters.
    """

    def __init__(self, story: Story, *, blocks: bool) -> None:
        self.story, self.blocks = story, blocks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Part:
        told = self.story
        yield Text(f"\n {told.name}", style="bold")
        yield from Prose.of(_where(told), style="dim").__rich_console__(console, options)
        parts: tuple[Iterable[RenderableType], ...] = (
            _undone(told), _figures(told, console), _outcome(told.outcome), _parts(told),
            _runs(told), _distances(told.distances), self._pictures(options.max_width),
            _facts(told), _remarks(told),
        )  # fmt: skip
        for part in parts:
            for number, line in enumerate(part):
                if number == 0:
                    yield Text("")
                yield line

    def _pictures(self, width: int) -> Part:
        told = self.story
        shown = [p for p in told.pictures if p.said is None or p.said[0] == p.label][:_SHOWN]
        if not shown:
            return
        yield Prose.of(_legend(told), style="dim")
        if shown[0].changes is not None:
            yield from _changed(shown, width)
            return
        full = max(picture.after.shape[1] for picture in shown)
        count, columns = _side_by_side(full, width - 1)
        for start in range(0, len(shown), count):
            text = Text()
            for picture in shown[start : start + count]:
                drawn = _drawn(picture, columns, self.blocks)
                text = beside(text, drawn, _GAP) if text else drawn
            yield Text("")
            for line in text.split("\n"):
                line = Text.assemble(" ", line)
                line.rstrip()
                yield line


def _where(told: Story) -> str:
    runs = f"{len(told.runs)} run{'s' * (len(told.runs) != 1)}" if told.runs else ""
    draws = f"{told.draws} draw{'s' * (told.draws != 1)} of the poison" if told.draws else ""
    threat = str(told.threat) if told.threat is not None else ""
    return " · ".join(filter(None, [told.dataset, told.model, threat, runs, draws]))


def _undone(told: Story) -> Part:
    if told.status != "ok":
        yield Prose([(Text(f" {told.status} "), told.reason or "no reason was kept")])


# -- figures --------------------------------------------------------------------------------


def _figures(told: Story, console: Console) -> Part:
    numbers = [_numbers(stated) for stated in told.figures]
    widths = [max(map(cell_len, column)) for column in zip(*numbers, strict=True)]
    for number, (stated, (value, interval)) in enumerate(zip(told.figures, numbers, strict=True)):
        style = f"bold {harm.style(_lost(told), console)}".strip() if number == 0 else ""
        before = Text.assemble(
            f" {stated.name:<13}", (value.rjust(widths[0]), style), "  ",
            interval.ljust(widths[1]), "  ",
        )  # fmt: skip
        yield Prose([(before, stated.meaning)], style="dim")


def _numbers(stated: Stated) -> tuple[str, str]:
    """Return the figure with its unit, and its interval."""
    figure = stated.figure
    unit = " %" if stated.unit == "percent" else "  "
    value = f"{percent(figure.value)}{unit}"
    if figure.low is None or figure.high is None:
        return value, ""
    return value, f"{percent(figure.low)} to {percent(figure.high)}"


def _lost(told: Story) -> float | None:
    """Return the clean accuracy that the cell has lost."""
    if told.lost is not None or told.kind == "clean":
        return told.lost.value if told.lost is not None else None
    known = told.clean is not None and told.figure is not None
    return told.clean.value - told.figure.value if known else None  # type: ignore[union-attr]


def _outcome(outcome: Outcome | None) -> Part:
    if outcome is not None:
        yield Prose.of(
            f"Of {outcome.n:,} images {outcome.wrong:,} were wrong before, {outcome.turned:,} are "
            f"turned within the budget, {outcome.beyond:,} only beyond it, {outcome.never:,} not "
            "at all."
        )


def _parts(told: Story) -> Part:
    for attack, figure in told.parts:
        value = "-" if figure is None else f"{percent(figure.value)} %"
        yield Prose([(f" {value:>7}  ", f"under {attack}")])
    for attack in told.missing:
        yield Prose([("       -  ", f"{attack} has no figure; with it it could only be lower")])


def _runs(told: Story) -> Part:
    """Yield a table of the runs, with the columns that they have something in."""
    if len(told.runs) < 2:
        return
    names = {"attacked": "accuracy", "clean": "clean", "baseline": "flips"}
    names |= {"benign": "benign", "oblivious": "oblivious"}
    if told.kind == "clean":
        del names["clean"]
    columns = [["seed", *(str(run.seed) for run in told.runs)]]
    columns.append(["images", *(f"{run.n_images:,}" for run in told.runs)])
    for name, word in names.items():
        shares = [getattr(run, f"{name}_accuracy") for run in told.runs]
        if any(share is not None for share in shares):
            columns.append([word, *("-" if s is None else percent(s) for s in shares)])
    if told.draws > 1:
        draws = list(dict.fromkeys(run.draw for run in told.runs))
        columns.append(["draw", *(str(draws.index(run.draw) + 1) for run in told.runs)])
    yield from _columns(columns)


def _columns(columns: Sequence[Sequence[str]], first: int = 0) -> Iterator[Text]:
    """Yield the lines of columns, each with its heading; the first one is at least so wide."""
    widths = [max(map(cell_len, column)) for column in columns]
    widths[0] = max(widths[0], first)
    for number, cells in enumerate(zip(*columns, strict=True)):
        line = "  ".join(c.rjust(w) for c, w in zip(cells, widths, strict=True))
        yield Text(f" {line}", style="dim" if number == 0 else "")


# -- distances ------------------------------------------------------------------------------


def _distances(distances: Sequence[Distance]) -> Part:
    if not distances:
        return
    main = distances[0]
    yield from _histogram(main, main.histogram(_BINS))
    yield Text("")
    names = ["", *(distance.name for distance in distances)]
    width = max(map(cell_len, names))
    columns = [[name.ljust(width) for name in names]]
    for k, at in enumerate(QUANTILES):
        heading = "median" if at == 0.5 else f"{100 * at:.0f} %"
        columns.append([heading.rjust(8), *(_short(d.quantiles[k]) for d in distances)])
    yield from _columns(columns)


def _histogram(distance: Distance, found: Histogram) -> Part:
    n = f"{len(distance.values):,} images that are turned, at any distance"
    if len(found.counts) < 2:
        yield Prose.of(f"{distance.name} of the {n}: {_short(found.edges[0])}")
        return
    yield Prose.of(f"{distance.name} of the {n}", style="dim")
    within = len(found.counts)
    if distance.budget is not None:
        within = int((found.edges[1:] <= distance.budget * (1 + 1e-9)).sum())
    steps = len(_BARS) - 1
    heights = [-(-int(c) * _HEIGHT * steps // int(found.counts.max())) for c in found.counts]
    for level in reversed(range(_HEIGHT)):
        drawn = "".join(_BARS[min(max(h - level * steps, 0), steps)] for h in heights)
        line = Text.assemble(" ", drawn[:within], (drawn[within:], "dim"))
        line.rstrip()
        yield line
    low, high = _short(found.edges[0]), _short(found.edges[-1])
    above = f", {found.above} beyond" if found.above else ""
    yield Text(f" {low}{high.rjust(len(heights) - len(low))}{above}", style="dim")
    if distance.budget is not None and 0 < within < len(heights):
        yield Text(f" {' ' * (within - 1)}▲ budget {distance.budget:g}")


def _short(value: float) -> str:
    return "0" if abs(value) < 1e-6 else f"{value:.3g}"


# -- images ---------------------------------------------------------------------------------


def _side_by_side(full: int, room: int) -> tuple[int, int]:
    """Return how many images stand beside one another, and how wide each may be drawn."""
    wanted = max(full, _CAPTION)
    for count in (6, 3, 2):
        columns = (room - (count - 1) * _GAP) // count
        if columns >= min(wanted, _LEAST):
            return count, min(wanted, columns)
    return 1, max(1, min(wanted, room))


def _legend(told: Story) -> str:
    if told.kind == "poisoning":
        words = "Points that are added to the training set, with the label that they are given"
        changed = ", and what is not as in the row that each started as"
        return f"{words}{changed if told.pictures[0].changes is not None else ''}:"
    distance = f", at what {told.distances[0].name}" if told.distances else ""
    if told.pictures[0].changes is not None:
        return (
            "The first rows of the first run that were right before, and the columns that the "
            f"attack changed most; what the defended model says{distance}:"
        )
    return (
        "The first images of the first run that were right before and, below them, after the "
        f"attack; what the defended model says{distance}:"
    )


def _changed(shown: Sequence[Picture], width: int) -> Part:
    """Yield rows of a table, what changed of each."""
    for picture in shown:
        if picture.changes is not None:
            told = changes_text(_caption(picture), picture.changes, width - 1)
            yield Text("")
            for line in told.split("\n"):
                yield Text.assemble(" ", line)


def _drawn(picture: Picture, columns: int, blocks: bool) -> Text:
    after = image_text(picture.after, color=blocks, max_width=columns)
    if picture.before is None or picture.said is None:
        return Text.assemble(_cut(_caption(picture), columns), "\n", after)
    before = image_text(picture.before, color=blocks, max_width=columns)
    return Text.assemble(_cut(_caption(picture), columns), "\n", before, "\n\n", after)


def _caption(picture: Picture) -> str:
    if picture.said is None:
        return f"labelled {picture.label}"
    said, now = picture.said
    if said == now:
        return f"{said} stays"
    at = f" at {_short(picture.distance)}" if picture.distance is not None else ""
    return f"{said} → {now}{at}"


def _cut(caption: str, columns: int) -> Text:
    text = Text(caption)
    text.truncate(columns, overflow="ellipsis")
    return text


# -- the rest -------------------------------------------------------------------------------


def _facts(told: Story) -> Part:
    facts: dict[str, str] = {
        part: _parameters(told.parameters.get(part, {})) for part in ("attack", "defense", "model")
    }
    if told.poison is not None:
        share = 100 * told.poison.get("fraction", 0.0)
        points = told.poison.get("points", 0.0)
        facts["poison"] = f"{points:,.0f} points, {share:.3g} % of the clean training set"
    if told.sanitized:
        shares = (f"{name} {percent(share)}" for name, share in told.sanitized.items())
        facts["sanitizer"] = f"in %: {', '.join(shares)}"
    facts["found"] = _parameters(told.found)
    facts["passes"] = ", ".join(f"{n:,.1f} {name}" for name, n in told.queries.items())
    facts["passes"] += " an image" * bool(told.queries)
    known = {name: seconds for name, seconds in told.seconds.items() if seconds >= 0.05}
    facts["took"] = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in known.items())
    for name, text in facts.items():
        if text:
            yield Prose([(Text(f" {name:<11}", style="dim"), text)])


def _parameters(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value_text(value, ' ')}" for name, value in parameters.items())


def _remarks(told: Story) -> Part:
    for mark, remarks in ((FLAG, told.flags), (NOTE, told.notes)):
        for remark in remarks:
            text = "; ".join(filter(None, [remark.message, remark.remedy]))
            yield Prose([(f" {mark} ", f"{remark.name}: {text}")])
