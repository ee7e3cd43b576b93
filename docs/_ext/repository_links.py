"""Links that work in the repository, as a forge shows it, and in the site.

A page written in Markdown links to files as they stand in the repository. Those that have a page in
the site lead to that page, a tutorial to what came of running it; any other file of the repository
is offered for download. The pages of ``project/`` include the files at the root of the repository,
whose links are as seen from there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
# Files at the root that are pages of the site.
PAGES = {
    ROOT / "ARCHITECTURE.md": DOCS / "project/architecture.md",
    ROOT / "CONTRIBUTING.md": DOCS / "project/contributing.md",
    ROOT / "CHANGELOG.md": DOCS / "project/changelog.md",
    ROOT / "README.md": DOCS / "index.md",
}
_INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def expand(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put included files in, and make each link one that leads somewhere in the site."""
    page = Path(app.env.doc2path(docname))
    if page.suffix != ".md":
        return

    def included(match: re.Match[str]) -> str:
        file = (page.parent / match[1]).resolve()
        app.env.note_dependency(str(file))
        return with_links(file.read_text(encoding="utf-8"), file, page)

    source[0] = _INCLUDE.sub(included, with_links(source[0], page, page))


def with_links(text: str, written_in: Path, page: Path) -> str:
    """Return ``text`` of the file ``written_in`` with links as seen from ``page``."""

    def link(match: re.Match[str]) -> str:
        words, target, fragment = match[1], match[2], match[3] or ""
        file = (written_in.parent / target).resolve()
        if not file.is_relative_to(ROOT):
            raise ExtensionError(f"{written_in}: {target} is outside the repository")
        if file in PAGES:
            return f"[{words}]({_from(page, PAGES[file])}{fragment})"
        if file.parent == DOCS / "tutorials" and file.is_file():
            return f"[{words}]({_from(page, DOCS / 'gallery' / f'{file.stem}.rst')}{fragment})"
        if file.is_relative_to(DOCS):
            return f"[{words}]({_from(page, file)}{fragment})"
        if file.is_file():
            return f"{{download}}`{words.strip('`')} <{_from(page, file)}>`"
        raise ExtensionError(f"{written_in}: there is no {target}")

    return _LINK.sub(link, text)


def _from(page: Path, file: Path) -> str:
    return Path(os.path.relpath(file, page.parent)).as_posix()


def setup(app: Sphinx) -> dict[str, Any]:
    """Rewrite every Markdown page as it is read."""
    app.connect("source-read", expand)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
