"""What the site says of the package: a page for every name, and links that lead somewhere."""

import re
from pathlib import Path

import pytest

import fastadv
from fastadv import protocols
from fastadv.manual import _documented
from fastadv.registry import REGISTRY

DOCS = Path(__file__).parents[2] / "docs"
ENTRIES = [(what, entry) for what, entries in REGISTRY.items() for entry in entries]


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    import reference_pages

    return reference_pages


@pytest.fixture
def check_site(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import check_site

    return check_site


@pytest.mark.parametrize(("what", "entry"), ENTRIES, ids=[f"{w}-{e.name}" for w, e in ENTRIES])
def test_everything_of_ours_has_a_page_with_all_that_it_has_to_say(pages, what, entry):
    sections = pages.notes_of(what, entry)
    text = pages.page(what, entry, {})
    assert all(f"\n## {title}\n" in text for title in sections)
    if what != "dataset" and (what, entry.name) != ("defense", "none"):
        assert "$$" in sections["Definition"]  # a formula
    for parameter in pages.parameters_of(entry):
        assert f"* - `{parameter.name}`\n" in text


def test_notes_are_of_what_there_is(pages):
    names = {(f"{what}s", pages.file_name(entry)) for what, entry in ENTRIES}
    notes = {(path.parent.name, path.name[:-3]) for path in pages.NOTES.rglob("*.md")}
    assert notes == names


def test_notes_without_a_section_are_refused(pages, monkeypatch, tmp_path):
    (tmp_path / "attacks").mkdir()
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    monkeypatch.setattr(pages, "NOTES", tmp_path)
    (tmp_path / "attacks" / "pgd.md").write_text("## Definition\n\nSteps.\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"needs the sections Definition, Threat model"):
        pages.notes_of("attack", REGISTRY["attack"][3])


def test_text_of_a_name_is_text_on_its_page(pages):
    assert pages.plain("<script>alert(1)</script> a_b*c*") == (
        r"\<script\>alert(1)\</script\> a\_b\*c\*"
    )


def test_every_public_name_is_in_the_reference_of_the_api():
    listed = (DOCS / "api" / "index.rst").read_text(encoding="utf-8")
    for name in fastadv._HOMES:
        assert f"   fastadv.{name}\n" in listed, name
    for name, thing in vars(protocols).items():
        if getattr(thing, "_is_protocol", False) and thing.__module__ == protocols.__name__:
            assert re.search(rf"^   (fastadv\.)?{name}$", listed, re.MULTILINE), name


def test_public_functions_say_what_they_take_and_return():
    for name in ("run_grid", "make_attack", "make_defense", "make_model", "load_dataset"):
        function = getattr(fastadv, name)
        given = {name for name in function.__annotations__ if name != "return"}
        assert given <= set(_documented(function)), name
        assert re.search(r"\n\s+Returns\n\s+-------\n", function.__doc__), name


GOOD = '<a href="b.html#there">b</a><script src="own.js"></script>'


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (GOOD, None),
        ('<a href="c.html">c</a>', "links to c.html, which is not there"),
        ('<a href="b.html#gone">b</a>', "links to b.html#gone, where nothing has that name"),
        ('<a href="#gone">here</a>', "links to #gone, where nothing has that name"),
        ('<a href="../../outside.html">up</a>', "which is not there"),
        ('<script src="https://cdn.example/a.js"></script>', "loads https://cdn.example/a.js"),
        ('<link rel="stylesheet" href="//cdn.example/a.css">', "loads //cdn.example/a.css"),
        ('<img src="http://example.org/a.png">', "loads http://example.org/a.png"),
        ('<a href="https://arxiv.org/abs/1706.06083">a paper</a>', None),
    ],
)
def test_links_and_what_a_page_loads_are_checked(check_site, tmp_path, page, fault):
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>', encoding="utf-8")
    (tmp_path / "own.js").touch()
    check_site.read.cache_clear()
    found = check_site.faults_of_page(tmp_path / "a.html", tmp_path)
    assert (fault is None and not found) or fault in found[0]


def test_a_site_without_a_page_for_a_name_is_at_fault(check_site, tmp_path):
    assert "attack pgd has no page reference/attacks/pgd.html" in check_site.faults_of_site(
        tmp_path
    )
