r"""Any text as LaTeX that prints it: in ASCII, for every engine, encoding and language of babel.

Letters with accents are written by their commands; what LaTeX has no command for is printed as its
code point, ``U+4E2D``, so that a table compiles whatever its names are.
"""

from __future__ import annotations

import re
import unicodedata

from fastadv.visible import visible

# Also what would be taken for a ligature (``<<``), a shorthand of babel (``"``), or for something
# that belongs to the command before it (``*`` and ``[`` behind a line's end).
_COMMANDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"{\char34}",
    "'": r"\textquotesingle{}", "`": r"\textasciigrave{}", "*": "{*}", "[": "{[}", "]": "{]}",
    "\u00a0": "~",
    "±": r"$\pm$", "·": r"$\cdot$", "×": r"$\times$", "÷": r"$\div$", "¬": r"$\neg$",
    "µ": r"$\mu$", "°": r"$^\circ$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$",
    "∞": r"$\infty$", "→": r"$\rightarrow$", "←": r"$\leftarrow$", "−": "$-$", "…": r"\dots{}",
    "–": r"\textendash{}", "—": r"\textemdash{}",
    "‘": r"\textquoteleft{}", "’": r"\textquoteright{}", "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}",
    "•": r"$\bullet$", "©": r"\copyright{}", "£": r"\pounds{}", "¡": r"\textexclamdown{}",
    "¿": r"\textquestiondown{}", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}",
    "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
_COMMANDS |= dict(zip("αβγδεζηθικλμνξπρστυφχψω", (
    rf"$\{name}$" for name in (
        "alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "varphi", "chi", "psi",
        "omega",
    )
), strict=True))  # fmt: skip
_INSIDE_LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=,)(?=,)")
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d",
    "\u0327": "c", "\u0331": "b",
}  # fmt: skip


def latex(text: str) -> str:
    """Return LaTeX that prints a text as it is, control characters as `visible` shows them."""
    shown = unicodedata.normalize("NFC", visible(text))
    parts = ("".join(map(_printed, part)) for part in _INSIDE_LIGATURE.split(shown))
    return "{}".join(parts)


def _printed(c: str) -> str:
    if c in _COMMANDS:
        return _COMMANDS[c]
    if c.isascii():
        return c
    letter, *marks = list(unicodedata.normalize("NFD", c))
    if len(marks) == 1 and marks[0] in _ACCENTS and letter.isascii() and letter.isalpha():
        dotless = {"i": r"\i", "j": r"\j"}.get(letter, letter)
        return rf"\{_ACCENTS[marks[0]]}{{{dotless}}}"
    return rf"\texttt{{U+{ord(c):04X}}}"
