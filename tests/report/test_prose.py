"""Text below tables: as wide as is read, in one piece where it belongs together."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fastadv.report.notes import Note
from fastadv.report.prose import Prose, wrapped

TEXT = (
    "Against pgd linf 0.1 adv_training is best (67.8 %), tied with 中文 and a_word_that_is_longer."
)


def printed(prose, width):
    stream = io.StringIO()
    Console(file=stream, width=width).print(prose)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [10, 16, 23, 47, 48, 200])
def test_no_line_is_too_long_or_padded_and_every_word_is_there(width):
    lines = list(wrapped(TEXT, width))
    assert max(map(cell_len, lines)) <= width
    assert all(line == line.strip() for line in lines)
    assert "".join(lines).replace(" ", "") == TEXT.replace(" ", "")
    assert not any(line.startswith("%") for line in lines)
    assert list(wrapped("", width)) == []


def test_text_is_80_columns_wide_at_most_and_indented_behind_its_mark():
    lines = printed(Prose([(" ! ", "word " * 60)]), 200)
    assert max(map(len, lines)) in range(70, 81)
    assert lines[0].startswith(" ! word")
    assert all(line.startswith("   word") for line in lines[1:])
    assert not any(line.endswith(" ") for line in lines)


def test_in_a_narrow_terminal_the_text_begins_in_the_next_line():
    lines = printed(Prose([(Text(" accuracy      34.2 %  31.3 to 37.2   "), "are right")]), 44)
    assert lines == [" accuracy      34.2 %  31.3 to 37.2", "   are right"]


def test_notes_stand_behind_marks_of_one_width_and_are_not_read_as_markup():
    notes = (Note("[1]", "see [bold]this"), Note("!", "masked"))
    assert printed(Prose.of_notes(notes), 80) == [" [1] see [bold]this", " !   masked"]
