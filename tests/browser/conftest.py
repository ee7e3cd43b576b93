"""Pages in a browser that asks nothing of the network; what they request and log is kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

import chromium
import made_pages

PATIENCE = 15_000  # milliseconds; on a busy machine a browser is slow, and no fault of the page
expect.set_options(timeout=PATIENCE)


@dataclass
class Opened:
    """A page, and what it did that is not drawn."""

    page: Page
    file: Path
    requests: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)

    def goto(self, fragment: str = "") -> None:
        self.page.goto("about:blank")  # or the same page would only scroll
        self.page.goto(self.file.as_uri() + fragment)

    def tab_to(self, selector: str, most: int = 200) -> None:
        """Press Tab until the focus is on the first element of a selector."""
        wanted = self.page.locator(selector).first
        for _ in range(most):
            if wanted.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not reach {selector}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        pytest.exit(chromium.MISSING, returncode=1)
    args = [
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        args.append("--no-sandbox")  # it does not start as root otherwise
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=args)
        yield started
        started.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the pages, by name."""
    folder = tmp_path_factory.mktemp("pages")
    return {
        "grid": made_pages.grid(folder / "grid"),
        "hostile": made_pages.hostile(folder / "hostile"),
    }


@pytest.fixture
def visit(browser: Browser, pages: dict[str, Path]) -> Iterator[Callable[..., Opened]]:
    """Open a page: ``visit("grid", "#cell=...", width=360, color_scheme="dark")``."""
    contexts = []

    def visited(name: str, fragment: str = "", width: int = 1440, **options: object) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        opened = Opened(context.new_page(), pages[name])
        page = opened.page
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("console", lambda message: opened.logged.append(message.text))
        page.on("pageerror", lambda error: opened.logged.append(str(error)))
        page.on("dialog", lambda dialog: (opened.alerts.append(dialog.message), dialog.dismiss()))
        page.goto(pages[name].as_uri() + fragment)
        return opened

    yield visited
    for context in contexts:
        context.close()
