"""Check a built site: ``python docs/check_site.py docs/_build/html``.

Every link within it leads to a page, and every fragment to an element of that page; nothing is
loaded from anywhere else; everything that ``fastadv list`` names has a page.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
from reference_pages import docname

from fastadv.registry import REGISTRY

# What a browser loads by itself, by tag: the attributes that say from where.
LOADED = {
    "script": ["src"], "img": ["src"], "source": ["src"], "video": ["src"], "audio": ["src"],
    "iframe": ["src"], "embed": ["src"], "object": ["data"],
}  # fmt: skip
LOADED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect"}
_IN_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])(https?:|//)")


class Page(HTMLParser):
    """What one page links to, loads, and can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loads += [given[name] for name in LOADED.get(tag, []) if name in given]
        if tag == "link" and LOADED_LINKS & set(given.get("rel", "").split()):
            self.loads.append(given.get("href", ""))


@cache
def read(path: Path) -> Page:
    """Return the page in a file."""
    return Page(path.read_text(encoding="utf-8"))


def faults_of_page(path: Path, root: Path) -> list[str]:
    """Return what is wrong with a page's links and with what it loads."""
    page, where, faults = read(path), path.relative_to(root), []
    faults += [
        f"{where} loads {url}" for url in page.loads if urlsplit(url).netloc or url[:5] == "http:"
    ]
    for link in page.links + page.loads:
        url = urlsplit(link)
        if url.scheme or url.netloc:
            continue
        target = (path.parent / unquote(url.path)).resolve() if url.path else path
        if target.is_dir():
            target = target / "index.html"
        if not target.is_relative_to(root) or not target.is_file():
            faults.append(f"{where} links to {link}, which is not there")
        elif url.fragment and unquote(url.fragment) not in read(target).ids:
            faults.append(f"{where} links to {link}, where nothing has that name")
    return faults


def faults_of_site(root: Path) -> list[str]:
    """Return all that is wrong with the site in a folder."""
    root = root.resolve()
    pages = [path for path in sorted(root.rglob("*.html")) if path.parent.name != "_static"]
    faults = [fault for page in pages for fault in faults_of_page(page, root)]
    for sheet in sorted(root.rglob("*.css")):
        if _IN_STYLE.search(sheet.read_text(encoding="utf-8")):
            faults.append(f"{sheet.relative_to(root)} loads from elsewhere")
    for what, entries in REGISTRY.items():
        for entry in entries:
            page = f"{docname(what, entry)}.html"
            if not (root / page).is_file():
                faults.append(f"{what} {entry.name} has no page {page}")
    return faults


def main() -> int:
    """Print the faults of a site; return 1 if there are any."""
    root = Path(sys.argv[1])
    faults = faults_of_site(root)
    print("\n".join(faults) or f"{len(list(root.rglob('*.html')))} pages, every link checked")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
