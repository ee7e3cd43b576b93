"""README and the guide tell the truth: tables, figures, links and commands are those of the tool."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from front_page import HEADING, IMAGES, KEPT, README, ROOT, printed, shown, unpack
from helpers import svg_lines

from fastadv.cli.app import app, main
from fastadv.cli.specs import spec_list

GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
PAGES = [README, *GUIDE]


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the kept grid."""
    return unpack(tmp_path_factory.mktemp("kept"))


# Where what is printed was meant to change, `make readme` mends README and its pictures.


def test_the_table_is_the_one_that_is_printed(grid: Path) -> None:
    table = printed(grid)
    assert shown(text(README))[1] == table
    assert len(table.splitlines()) > 15
    assert max(map(len, table.splitlines())) <= 80


def test_the_picture_of_the_table_is_the_one_that_is_drawn(grid: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "table.svg"
    assert main(["report", str(grid), "--plot", str(drawn)]) == 0
    assert svg_lines(text(IMAGES / "table.svg")) == svg_lines(text(drawn))
    # Where a terminal has colours, a line says what they mean.
    assert set(shown(text(README))[1].splitlines()) - {""} <= set(svg_lines(text(drawn)))


def test_the_picture_of_stadv_has_one_row() -> None:
    label = re.findall(r'aria-label="([^"]*)"', text(IMAGES / "stadv.svg"))
    assert re.fullmatch(
        r"clean: \d \(.*%\), flow: .* px at most, attacked: \d \(.*%\), difference: .* at most",
        label[0],
    )


def test_what_is_kept_and_drawn_is_light() -> None:
    assert KEPT.stat().st_size < 500_000
    for picture in IMAGES.iterdir():
        assert picture.stat().st_size < 200_000


def test_readme_is_a_front_page() -> None:
    assert len(text(README).splitlines()) <= 150
    assert text(README).count(HEADING) == 1
    images = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text(README))
    assert [path for _, path in images] == ["docs/images/table.svg", "docs/images/stadv.svg"]


# -- links ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_of_the_repository(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text(page)):
        file, _, fragment = target.partition("#")
        assert not re.match(r"\w+:|/", file), f"{target} is not relative"
        found = (page.parent / file).resolve() if file else page
        assert found.is_file(), target
        assert found.is_relative_to(ROOT)
        assert not fragment or fragment in anchors(found), target


def anchors(page: Path) -> set[str]:
    """Return the fragments that a forge makes of headings."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_nothing_is_said_that_holds_of_a_published_package_alone() -> None:
    """Nothing is on a registry: what has this name there would be somebody else's."""
    sources = [*PAGES, *(ROOT / "fastadv").rglob("*.py")]
    told = [
        page.name
        for page in sources
        if re.search(r"(pipx?|tool) install (-\S+ )*'?fastadv", text(page))
    ]
    assert told == []


# -- commands -------------------------------------------------------------------------------


def commands(page: Path) -> list[list[str]]:
    """Return the words of every command of fastadv in a page's blocks, and in its sentences."""
    blocks = re.findall(r"^```\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(fastadv [a-z][^`\n]*)`", text(page))
    found = [line for line in lines if re.match(r"(\.venv/bin/)?fastadv ", line)]
    return [shlex.split(line, comments=True)[1:] for line in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one_that_the_program_takes(page: Path) -> None:
    for words in commands(page):
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands") and words[0] != "COMMAND":  # a group
            name, *words = words
            command = command.commands[name]
        if words[:1] == ["COMMAND"]:
            continue
        asked = command.make_context(name, list(words)).params
        for what in ("attacks", "defenses"):
            if asked.get(what):
                spec_list(what[:-1], asked[what])
        if name == "attack" and asked["name"] != "NAME":
            spec_list("attack", asked["name"])


def test_there_are_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 40


def test_the_attacks_and_defenses_that_readme_names_are_all_that_there_are() -> None:
    box = text(README).partition("## What is in the box")[2].partition("```")[0]
    from fastadv.registry import ATTACKS, DEFENSES

    controls = {"none", "noise", "train_noise"}  # "controls that an attack has to beat"
    named = set(re.findall(r"`(\w+)`", box))
    assert {entry.name for entry in (*ATTACKS, *DEFENSES)} - controls <= named


# -- figures --------------------------------------------------------------------------------

# By the row of README's table: where its figures are kept, and the race.
RACES = {
    "training, 5 epochs of 784-128-10": ("training", "5 epochs, 784-128-10, batch 100"),
    "FGSM, 10,000 images": ("pgd-10000", "10000 images, fgsm[eps=0.1]"),
    "PGD, 40 steps, 10,000 images": ("pgd-10000", "10000 images, pgd[eps=0.1,steps=40]"),
    "stadv, translations held, 1,000 digits": ("stadv", "stadv, no translation, 1,000 digits"),
    "gradient through training, 50 points": ("poisoning", "poison gradient: 1000 rows, 128 units, 200 steps, 50 points"),
    "one poison point of an SVM": ("svm", "SVM, one poison point, 50 steps"),
}  # fmt: skip
RUNNERS = ("jax", "torch", "scikit-learn", "art", "foolbox", "torchattacks")


def test_the_strength_beside_other_libraries_is_what_is_kept() -> None:
    matches = json.loads((ROOT / "results/strength/strength.json").read_text())["matches"]
    worst = {
        (match["defense"], match["library"]): match
        for match in matches
        if match["attack"] == "worst" and match["threat"] == "linf(0.1)"
    }
    for name, defense in (("undefended", "none"), ("adv_training", "adv_training")):
        found = [worst[defense, one] for one in ("torchattacks", "foolbox", "AutoAttack")]
        shares = [found[0]["ours"], *(one["theirs"] for one in found)]
        assert f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |" in text(
            README
        )
    weaker = [m for m in matches if m["ours"] > m["theirs"] + 0.003 + 2 * m["error"]]
    assert {(m["attack"], m["defense"]) for m in weaker} == {("pgd[eps=0.1,steps=40]", "none")}
    assert {(m["ours"], m["theirs"]) for m in weaker} == {(0.174, 0.166)}
    assert "leaves 17.4 and theirs 16.6" in text(README)


def test_the_figures_beside_other_libraries_are_those_that_are_kept() -> None:
    lines = re.findall(r"^\| (.*) \|$", text(README), re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    rows = [row for row in rows if row[0] in RACES]
    assert [row[0] for row in rows] == list(RACES)
    for name, *cells, only in rows:
        file, race = RACES[name]
        kept = json.loads((ROOT / "results" / "speed" / f"{file}.json").read_text())
        laps = [lap for lap in kept["laps"] if lap["race"] == race and lap["ratio"] is not None]
        for runner, cell in zip(RUNNERS, cells, strict=True):
            ratios = [lap["ratio"] for lap in laps if lap["runner"].partition(",")[0] == runner]
            best = min(ratios, default=None)  # of several ways the fastest
            digits = 0 if best is not None and best >= 14 else 1
            assert cell == ("" if best is None else f"{best:.{digits}f}"), (name, runner)
        assert only.strip('`"') in race
