"""The page in a browser, by keyboard: what it shows, what it asks for, and who can use it."""

from __future__ import annotations

import json
from urllib.parse import unquote

import made_pages
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = "#cell=stadv%5Btranslation=false%5D/median"
LINK = f".grid a[href='{CELL}']"
TD = f".grid td:has(a[href='{CELL}'])"
ATTACKS = ["fgsm", "pgd", "pgd", "stadv", "worst"]  # between the clean row and poison


def names(opened):
    """The attacks of the table from top to bottom, without the hidden ones."""
    shown = opened.page.locator(".grid tr[data-attack]:not([hidden])")
    return shown.evaluate_all("rows => rows.map(row => row.dataset.attack)")


def column(opened, number):
    """The figures of a column of the accuracies under attack, as numbers."""
    cells = opened.page.locator(f".grid tbody:nth-of-type(2) tr > :nth-child({number})")
    return [float(cell.lstrip("*").partition("±")[0]) for cell in cells.all_inner_texts()]


def fragment(opened):
    return unquote(opened.page.evaluate("location.hash"))


def at_the_table(opened):
    """Wait until no cell is open and the address says so: going back takes a moment."""
    expect(in_dialog(opened)).to_be_hidden()
    expect(opened.page).to_have_url(opened.file.as_uri())


def in_dialog(opened):
    return opened.page.locator("dialog[open] h3")


# -- nothing from outside -------------------------------------------------------------------


def test_nothing_leaves_the_file_and_nothing_is_logged(visit):
    opened = visit("grid")
    page = opened.page
    for button in page.locator(".sort").all():
        button.click()
    page.locator(".grid td a").first.click()
    page.locator(".ask").evaluate("box => box.click()")
    assert [url for url in opened.requests if not url.startswith("data:")] == [
        page.url.partition("#")[0]
    ]
    assert opened.logged == []


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        ("img-src", "add('img').src = 'http://127.0.0.1:9/x.png'"),
        ("script-src-elem", "add('script').text = 'window.ran = 1'"),
        ("script-src-attr", "add('p').outerHTML = '<p onclick=\"window.ran = 1\">x</p>'"),
        ("style-src-attr", "add('p').outerHTML = '<p style=\"color: red\">x</p>'"),
        ("connect-src", "fetch('http://127.0.0.1:9/').catch(() => {})"),
    ],
)
def test_the_policy_stops_what_is_not_of_the_page(visit, kind, act):
    page = visit("grid").page
    stopped = page.evaluate(
        f"""() => new Promise(resolve => {{
            const add = tag => document.body.appendChild(document.createElement(tag));
            document.addEventListener('securitypolicyviolation', e => resolve(e.effectiveDirective));
            setTimeout(() => resolve('nothing'), 2000);
            {act};
        }})"""
    )
    assert stopped == kind
    assert page.evaluate("window.ran") is None


def test_hostile_names_are_text(visit):
    opened = visit("hostile")
    page = opened.page
    assert page.locator("script").count() == 1
    bad = made_pages.HOSTILE
    expect(page.locator("h1")).to_contain_text(bad)
    expect(page.locator(".grid thead th").nth(1)).to_have_text(bad)
    expect(page.locator(".grid tbody th").nth(1)).to_contain_text(bad)
    expect(page.locator("figcaption").first).to_contain_text(bad)
    page.locator(".filter summary").first.click()
    expect(page.locator(".filter label").first).to_have_text(bad)
    page.keyboard.press("Escape")
    page.locator(".grid tbody td a").nth(1).click()
    expect(in_dialog(opened)).to_contain_text(bad)
    assert fragment(opened) == f"#cell={bad}/{bad}"
    opened.goto(f"#cell={bad}/{bad}")
    expect(in_dialog(opened)).to_be_visible()
    assert (opened.alerts, opened.logged) == ([], [])


# -- the table ------------------------------------------------------------------------------


def test_columns_sort_by_harm(visit):
    opened = visit("grid")
    page = opened.page
    as_run = column(opened, 4)
    opened.tab_to(".grid th:nth-child(4) button")
    head = page.locator(".grid th:nth-child(4)")
    opened.press("Enter")
    assert column(opened, 4) == sorted(as_run) != as_run  # the fewer are right, the more harm
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.get_by_role("status")).to_have_text("median: most harm first")
    assert names(opened)[0] == ""  # the clean row stays in its part of the table
    assert names(opened)[-2:] == ["biggio", "random flips"]
    opened.press("Enter")
    assert column(opened, 4) == sorted(as_run, reverse=True)
    expect(head).to_have_attribute("aria-sort", "ascending")
    opened.tab_to(".grid th:nth-child(1) button")
    opened.press("Space")
    assert names(opened)[1:-2] == sorted(ATTACKS)
    assert page.locator("[aria-sort]").count() == 1
    opened.press("Space", "Space")
    assert column(opened, 4) == as_run
    assert page.locator("[aria-sort]").count() == 0


def test_poison_sorts_by_what_it_takes(visit):
    opened = visit("grid")
    opened.page.locator(".grid th:nth-child(2) button").click()
    assert names(opened)[-2:] == ["biggio", "random flips"]
    opened.page.locator(".grid th:nth-child(2) button").click()
    assert names(opened)[-2:] == ["random flips", "biggio"]


def test_attacks_defenses_and_threats_are_filtered(visit):
    opened = visit("grid")
    page = opened.page
    opened.tab_to(".filter summary")
    opened.press("Enter", "Tab", "Tab", "Tab", "Space")  # past all and none
    assert names(opened) == ["", *ATTACKS[1:], "biggio", "random flips"]
    expect(page.get_by_role("status")).to_have_text("7 of 8 rows, 3 of 3 defenses")
    opened.press("Escape")
    assert page.locator(".filter[open]").count() == 0
    opened.tab_to(".filter:nth-of-type(2) summary")
    opened.press("Enter", "Tab", "Tab", "Tab", "Tab", "Space")  # the second defense
    texts = page.locator(".grid thead th:visible").all_inner_texts()
    assert texts == ["attack", "none", "median"]
    assert (
        page.locator(".grid tr[data-attack]:not([hidden])").first.locator("td:visible").count() == 2
    )
    opened.press("Escape")
    opened.tab_to(".filter:nth-of-type(3) summary")
    opened.press("Enter", "Tab", "Tab", "Enter")  # none of the threats
    assert names(opened) == [""]
    opened.press("Shift+Tab", "Enter")  # all
    assert names(opened) == ["", *ATTACKS[1:], "biggio", "random flips"]


def test_details_are_shown_on_demand(visit):
    opened = visit("grid")
    interval = opened.page.locator(f"{TD} .more")
    expect(interval).to_be_hidden()
    opened.tab_to(".ask")
    opened.press("Space")
    expect(interval).to_be_visible()


def test_the_arrow_keys_go_from_cell_to_cell(visit):
    opened = visit("grid")
    opened.tab_to(".grid td a")
    opened.press("ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft", "Enter")
    expect(in_dialog(opened)).to_have_text("fgsm against adv_training")


# -- a cell ---------------------------------------------------------------------------------


def test_a_cell_opens_to_its_story(visit):
    opened = visit("grid")
    page = opened.page
    figure = page.locator(LINK).inner_text().partition("±")[0]
    opened.tab_to(LINK)
    opened.press("Enter")
    story = page.locator("dialog[open]")
    expect(in_dialog(opened)).to_have_text("stadv[translation=false] against median")
    expect(in_dialog(opened)).to_be_focused()
    assert fragment(opened) == unquote(CELL)
    for words in (f"{figure} %", "95 % interval", "the gradient misleads", "use square", "flow loss",
                  "Its 2 runs", "alpha", "perturb", "fastadv grid --attacks"):  # fmt: skip
        expect(story).to_contain_text(words)
    assert story.locator("circle").count() == made_pages.RUNS
    assert story.locator("rect").count() > 10
    assert story.locator("img").count() == 3 * 8
    assert page.title().startswith("stadv[translation=false] against median")
    opened.press("Escape")
    at_the_table(opened)
    expect(page.locator(LINK)).to_be_focused()
    assert page.title().startswith("fastadv")
    assert page.locator("#cells article").count() == page.locator("#cells details").count()


def test_back_and_forward_close_and_open_it(visit):
    opened = visit("grid")
    opened.tab_to(LINK)
    opened.press("Enter")
    expect(in_dialog(opened)).to_be_visible()
    # By the page: the driver's go_forward may come before the browser has noted the step back.
    opened.page.evaluate("history.back()")
    expect(in_dialog(opened)).to_be_hidden()
    expect(opened.page.locator(LINK)).to_be_focused()
    opened.page.evaluate("history.forward()")
    expect(in_dialog(opened)).to_be_visible()
    opened.press("Escape")
    at_the_table(opened)
    assert opened.page.url == opened.file.as_uri()


def test_the_event_of_an_earlier_end_closes_nothing(visit):
    """It comes late: by then Forward may have opened the story again."""
    opened = visit("grid")
    opened.tab_to(LINK)
    opened.press("Enter")
    expect(in_dialog(opened)).to_be_visible()
    before = opened.page.url
    opened.page.evaluate("document.querySelector('dialog').dispatchEvent(new Event('close'))")
    expect(in_dialog(opened)).to_be_visible()
    assert opened.page.url == before
    opened.press("Escape")
    at_the_table(opened)


def test_a_deep_link_opens_its_cell(visit):
    opened = visit("grid", CELL)
    expect(in_dialog(opened)).to_have_text("stadv[translation=false] against median")
    expect(in_dialog(opened)).to_be_in_viewport()
    opened.press("Escape")
    at_the_table(opened)
    opened.page.evaluate("location.hash = '#cell=pgd/none'")
    expect(in_dialog(opened)).to_have_text("pgd against none")


@pytest.mark.parametrize("address", ["#cell=cw/none", "#cell=%E0%A4%A", "#cells", "#"])
def test_an_address_without_a_cell_opens_none(visit, address):
    opened = visit("grid", address)
    expect(opened.page.locator("table.grid")).to_be_visible()
    assert opened.page.locator("dialog[open]").count() == 0
    assert opened.logged == []


def test_from_a_cell_to_the_defense_beside_it(visit):
    opened = visit("grid")
    opened.tab_to(LINK)
    opened.press("Enter")
    opened.tab_to("dialog .steps button")
    opened.press("Enter")
    expect(in_dialog(opened)).to_have_text("stadv[translation=false] against adv_training")
    opened.page.go_back()
    expect(in_dialog(opened)).to_be_hidden()  # at the table, not at the cell before


def test_the_command_is_copied(visit):
    opened = visit("grid", CELL, permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    opened.tab_to("dialog .copy")
    opened.press("Enter")
    expect(page.locator("dialog .copy")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("dialog pre").inner_text()
    assert copied.startswith("fastadv grid --attacks 'stadv[translation=false]' --defenses median")


def test_the_rows_are_downloaded(visit):
    opened = visit("grid")
    opened.tab_to("a[download$=json]")
    with opened.page.expect_download() as waited:
        opened.press("Enter")
    rows = json.loads(waited.value.path().read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 18
    assert waited.value.suggested_filename == "rows.json"


# -- who can use it -------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing_serious(visit, width, scheme):
    opened = visit("grid", width=width, color_scheme=scheme)
    page = opened.page
    page.locator(".ask").check()
    page.locator(".filter summary").first.click()
    found = serious(page)
    opened.press("Escape")
    for details in page.locator("#cells details").all()[-2:]:
        details.evaluate("element => { element.open = true; }")
    found += serious(page)
    opened.goto(CELL)
    expect(in_dialog(opened)).to_be_visible()
    assert [*found, *serious(page)] == []


def serious(page):
    violations = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("where", ["", CELL])
@pytest.mark.parametrize("width", [360, 800, 1440])
def test_the_page_is_no_wider_than_the_window(visit, width, where):
    page = visit("grid", where, width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if where:
        assert (
            page.evaluate("(d => d.scrollWidth - d.clientWidth)(document.querySelector('dialog'))")
            <= 0
        )


def test_the_focus_is_seen(visit):
    opened = visit("grid")
    style = "element => getComputedStyle(element, {!r}).outlineStyle"
    for selector, part in ((".sort", ""), (".grid td a", "::after"), (".filter summary", ""),
                           (".scroll", ""), ("a[download]", "")):  # fmt: skip
        opened.page.evaluate("document.activeElement.blur()")
        opened.tab_to(selector)
        outline = opened.page.locator(selector).first.evaluate(style.format(part))
        assert outline not in ("none", ""), selector


def test_without_a_script_all_of_it_can_be_read(visit):
    opened = visit("grid", java_script_enabled=False)
    page = opened.page
    expect(page.locator(TD)).to_contain_text("±")
    assert page.get_by_role("button").count() == 0  # none that does nothing
    page.locator(".ask").check()  # by the style alone
    expect(page.locator(f"{TD} .more")).to_be_visible()
    page.locator(LINK).click()  # the browser opens what the address names
    story = page.locator("article:visible")
    expect(story).to_have_count(1)
    expect(story).to_contain_text("the gradient misleads")
    expect(story.locator("pre")).to_be_visible()
    assert story.locator("img:visible").count() == 3 * 8


def test_it_prints_as_a_report_and_an_open_cell_alone(visit):
    opened = visit("grid")
    page = opened.page
    page.emulate_media(media="print")
    expect(page.locator("table.grid")).to_be_visible()
    expect(page.locator(".controls")).to_be_hidden()
    page.emulate_media(media="screen")
    page.locator(LINK).click()
    page.emulate_media(media="print")
    expect(in_dialog(opened)).to_be_visible()
    expect(page.locator("table.grid")).to_be_hidden()
    expect(page.locator("dialog .close")).to_be_hidden()
