"""A page for everything in the registry, written before Sphinx reads its sources.

What a page says comes from three places: the registry and the class (kind, threat, parameters,
paper), the tool itself (figures and counts, `reference_figures`), and the notes, prose in
``docs/reference/notes/``: one file a name, its sections as `SECTIONS` has them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reference_figures as figures

from fastadv.entry import Entry
from fastadv.manual import parameters_of, reference_of
from fastadv.registry import REGISTRY

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
NOTES = DOCS / "reference" / "notes"
# What the notes of each kind have to say, in this order.
SECTIONS = {
    "attack": ("Definition", "Threat model", "Cost", "Good at", "Bad at"),
    "defense": ("Definition", "Needs", "Cost", "Good at", "Bad at"),
    "model": ("Definition", "Cost", "Good at", "Bad at"),
    "dataset": ("Contents", "Good at", "Bad at"),
}
_TITLES = {
    "attack": "Attacks", "defense": "Defenses", "model": "Models", "dataset": "Data sets",
}  # fmt: skip
_KINDS = {
    "evasion": "evasion attack, on test images",
    "poisoning": "poisoning attack, on the training set",
    "sanitizer": "sanitizer, cleans the training set",
    "training": "trains in its own way",
    "preprocessor": "preprocessor, stands before the model",
    "certified": "certifies its predictions",
    "model": "model",
    "dataset": "data set",
    "path": "reader of files",
    "fetched": "public data set, fetched",
    "none": "control",
}
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def file_name(entry: Entry) -> str:
    """Return what the files of an entry are called: of a path, without slashes and stars."""
    return re.sub(r"[^\w.]+", "-", entry.name).replace("-.", ".").strip("-")


def docname(what: str, entry: Entry) -> str:
    """Return the name of an entry's page."""
    return f"reference/{what}s/{file_name(entry)}"


def notes_of(what: str, entry: Entry) -> dict[str, str]:
    """Return the sections of an entry's notes, by their titles.

    Raises
    ------
    ValueError
        If the file is not there, or its sections are not those of `SECTIONS`.
    """
    path = NOTES / f"{what}s" / f"{file_name(entry)}.md"
    if not path.is_file():
        raise ValueError(f"{what} {entry.name} has no notes: write {path.relative_to(DOCS.parent)}")
    parts = re.split(r"^## (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = {title: text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}
    if tuple(sections) != SECTIONS[what] or not all(sections.values()):
        wanted = ", ".join(SECTIONS[what])
        raise ValueError(f"{path.relative_to(DOCS.parent)} needs the sections {wanted}")
    return sections


def page(what: str, entry: Entry, measured: dict[str, Any]) -> str:
    """Return the text of an entry's page, MyST Markdown."""
    sections = notes_of(what, entry)
    parts = [f"# {entry.name}", f"{_sentence(entry.summary)}", _facts(what, entry, measured)]
    figure = figures.caption_of(what, entry)
    if figure:
        path = f"../figures/{what}-{entry.name}.png"
        parts.append(f"```{{figure}} {path}\n:class: dark-light\n:alt: {figure}\n\n{figure}\n```")
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    parts += [_parameters(entry), _commands(what, entry)]
    return "\n\n".join(part for part in parts if part) + "\n"


def overview(what: str) -> str:
    """Return the page that lists all of one kind."""
    title, entries = _TITLES[what], REGISTRY[what]
    head = "* - name\n  - kind\n  - what it is\n"
    rows = "".join(
        f"* - [{plain(e.name)}]({file_name(e)}.md)\n  - {_KINDS[e.kind]}\n  - {plain(e.summary)}\n"
        for e in entries
    )
    names = "\n".join(map(file_name, entries))
    return (
        f"# {title}\n\n```{{list-table}}\n:header-rows: 1\n:widths: 16 30 54\n\n{head}{rows}```\n\n"
        f"```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )


def plain(text: str) -> str:
    """Return ``text`` as Markdown that shows it, letter by letter."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~^])", r"\\\1", text)


def _sentence(text: str) -> str:
    return plain(text[0].upper() + text[1:] + ".")


def _facts(what: str, entry: Entry, measured: dict[str, Any]) -> str:
    """Return the table at the head of a page."""
    rows = [("kind", _KINDS[entry.kind])]
    if what in ("attack", "defense") and entry.kind != "none":
        made = figures.made(what, entry)
        if hasattr(made, "threat"):
            said = "threat" if what == "attack" else "certifies against"
            rows.append((said, f"`{made.threat()}` unless told otherwise"))
        if what == "attack":
            rows.append(("asks of the model", _needs(made)))
    if entry.name in measured and what == "attack":
        counts = measured[entry.name]
        rows.append((
            "passes an image",
            f"{_count(counts['forward'])} forward, {_count(counts['backward'])} backward, counted "
            "on a small perceptron, without those that judge it",
        ))  # fmt: skip
    paper = reference_of(entry)
    if paper:
        rows.append(("source", _ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", plain(paper))))
    rows.append(("code", _code(entry)))
    body = "".join(f"* - {name}\n  - {text}\n" for name, text in rows)
    return f"```{{list-table}}\n:stub-columns: 1\n:widths: 20 80\n\n{body}```"


def _count(passes: float) -> str:
    return f"{passes:,.1f}".removesuffix(".0")


def _needs(attack: Any) -> str:
    if "gradient" in attack.needs:
        return "logits and their gradient by the image"
    if "poison_objective" in attack.needs:
        return "a derivative of its training by training images"
    return "logits" if hasattr(attack, "perturb") else "that it can be trained"


def _code(entry: Entry) -> str:
    module, _, name = entry.target.partition(":")
    path = module.replace(".", "/") + ".py"
    return f"{{download}}`{path} <../../../{path}>`, `{name}`"


def _parameters(entry: Entry) -> str:
    parameters = parameters_of(entry)
    if not parameters:
        return ""
    rows = "".join(
        f"* - `{p.name}`\n  - `{p.default}`\n  - {plain(f'{p.takes}. {p.text}'.strip())}\n"
        for p in parameters
    )
    return (
        f"## Parameters\n\nAs written in brackets: `{entry.name}[{parameters[0].name}=...]`.\n\n"
        "```{list-table}\n:header-rows: 1\n:widths: 20 16 64\n\n"
        f"* - parameter\n  - default\n  - what it is\n{rows}```"
    )


def _commands(what: str, entry: Entry) -> str:
    name = f'"{entry.name}"' if "*" in entry.name else entry.name
    lines = {
        "attack": f"fastadv grid --attacks {name}",
        "defense": f"fastadv grid --defenses none,{name}",
        "model": f"fastadv grid --model {name}",
        "dataset": f"fastadv grid --dataset {name}",
    }
    return f"## Run it\n\n```\nfastadv list {name}\n{lines[what]}\n```"


def write(_app: Sphinx) -> None:
    """Write the pages, those that are not as they should be, and the figures before them."""
    measured = figures.draw(DOCS / "reference" / "figures")
    for what, entries in REGISTRY.items():
        folder = DOCS / "reference" / f"{what}s"
        folder.mkdir(exist_ok=True)
        texts = {file_name(entry): page(what, entry, measured) for entry in entries}
        for name, text in {**texts, "index": overview(what)}.items():
            path = folder / f"{name}.md"
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before any source is read."""
    app.connect("builder-inited", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
