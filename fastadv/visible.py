"""Texts from outside, made harmless to a terminal: names come from files, and files from anyone."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats (of direction), halves, separators
_JOINERS = "\u200c\u200d"  # of letters, which scripts need


def visible(text: str) -> str:
    r"""Return a text whose control characters are shown: ``\x1b`` of an escape.

    So are those that turn the direction of writing, separate lines or show as nothing.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(c) if _is_hidden(c) else c for c in text)


def visible_json(text: str) -> str:
    r"""Return a JSON document with ``\u009b`` in place of such characters; it decodes to the same.

    A document is told by its lines, which stay.
    """
    if text.isascii():  # JSON escapes the others of those itself, but for one
        return text.replace("\x7f", "\\u007f")
    return "".join(
        "".join(f"\\u{unit:04x}" for unit in _utf16(c)) if _is_hidden(c) and c != "\n" else c
        for c in text
    )


def _is_hidden(c: str) -> bool:
    return unicodedata.category(c) in _HIDDEN and c not in _JOINERS


def _shown(c: str) -> str:
    return c.encode("unicode_escape", errors="backslashreplace").decode("ascii")


def _utf16(c: str) -> list[int]:
    encoded = c.encode("utf-16-be", errors="surrogatepass")
    return [int.from_bytes(encoded[i : i + 2], "big") for i in range(0, len(encoded), 2)]
