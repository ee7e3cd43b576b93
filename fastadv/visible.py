"""Texts from outside, made harmless to a terminal: names come from files, and files from anyone."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats (of direction), halves, separators
_JOINERS = "\u200c\u200d"  # of letters, which scripts need
_NOT_ASCII = re.compile(r"[^ -~]")  # or a control character


def visible(text: str) -> str:
    r"""Return a text whose control characters are shown: ``\x1b`` of an escape.

    So are those that turn the direction of writing, separate lines or show as nothing.
    """
    return _NOT_ASCII.sub(_shown, text)


def visible_json(text: str) -> str:
    r"""Return a JSON document with ``\u009b`` in place of such characters; it decodes to the same.

    The ends of its lines stay.
    """
    return _NOT_ASCII.sub(_escaped, text)


def _is_hidden(c: str) -> bool:
    return unicodedata.category(c) in _HIDDEN and c not in _JOINERS


def _shown(match: re.Match[str]) -> str:
    c = match[0]
    return c.encode("unicode_escape").decode() if _is_hidden(c) else c


def _escaped(match: re.Match[str]) -> str:
    c = match[0]
    if c == "\n" or not _is_hidden(c):
        return c
    units = c.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
