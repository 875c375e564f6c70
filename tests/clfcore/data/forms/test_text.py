"""Bytes become text, whoever saved them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.data.forms.text import decoded
from clfcore.errors import TuneshotError

UTF_16 = "it is UTF-16 without a byte order mark"
LINES = [
    "Free prize, call now\r\nSee you at eight\r\n",
    "Привет, как дела?\nВы выиграли приз\n",
    "你好世界，今天怎么样\n恭喜您中奖了\n",
    "ご当選おめでとう\r明日の会議\r",
    "Ő lő ürgét 🎉\nŁódź\n",
    "hi",
]


@pytest.mark.parametrize("text", LINES)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_tells_the_encoding_and_is_no_text(text, encoding):
    assert decoded(text.encode(encoding), "a.txt") == (text, ())


@pytest.mark.parametrize("text", LINES)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_seen_by_its_nuls(text, encoding):
    assert decoded(text.encode(encoding), "a.txt") == (text, (UTF_16,))


@given(st.lists(st.sampled_from(["a", "é", "中", "\n", " ", "\x00x", "word"]), min_size=8))
def test_single_nuls_in_utf_8_are_characters(pieces):
    text = "some words before them, and a line\n" + "".join(pieces)
    assert decoded(text.encode(), "a.txt") == (text, ())


@pytest.mark.parametrize(
    "raw",
    [
        bytes(range(256)) * 4,
        bytes(1000),
        b"text,label\n" + bytes(8) + b"\nhi,ham\n",
        "ASCII in UTF-32".encode("utf-32-le"),
        b"caf\xe9\x00\x00\n",
    ],
)
def test_anything_else_with_nuls_is_refused_as_binary(raw):
    with pytest.raises(TuneshotError, match=r"a\.txt is a binary file, no text; give a table"):
        decoded(raw, "a.txt")


def test_windows_1252_is_read_whole_and_said_in_one_note():
    text = "fine\r\nThe €5 ‘bargain’ – “naïve”…\r\nViel Spaß…\r\nJOSÉ’S\r\n"
    assert decoded(text.encode("cp1252"), "a.txt") == (
        text,
        ("it is not UTF-8 (line 2 and 2 more) and read as Windows-1252; save it as UTF-8 if "
         "letters look wrong",),
    )  # fmt: skip


def test_lines_of_two_encodings_are_each_read_in_their_own():
    start, end = "Grüße 🎉\nnaïve – “yes”\n", "€5 für dich\n"
    text, [note] = decoded(start.encode() * 4 + end.encode("cp1252"), "a.txt")
    assert text == start * 4 + end
    assert note.startswith("it is UTF-8, but for line 9, which is read as Windows-1252")


def test_what_is_in_no_encoding_known_here_is_refused_by_its_line():
    with pytest.raises(TuneshotError) as caught:
        decoded(b"fine\ncaf\xe9\n\x81\x40\n", "a.txt")
    assert str(caught.value) == (
        "a.txt is not UTF-8 (line 2), nor Windows-1252 (line 3); open it in the program it comes "
        "from and save it as UTF-8"
    )


@given(st.binary(max_size=200))
def test_no_bytes_break_it(raw):
    with suppress(TuneshotError):
        text, notes = decoded(raw, "a.txt")
        assert isinstance(text, str)
        assert len(notes) < 2
