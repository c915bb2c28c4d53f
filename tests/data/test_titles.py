from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.titles import MAX_WORDS, TitleStyle, clean_title

STYLES: tuple[TitleStyle, ...] = ("paper", "fair")


@pytest.mark.parametrize(
    ("raw", "fair"),
    [
        ("Salt &amp; Pepper", "Salt & Pepper"),
        ("Salt &amp;amp; Pepper", "Salt & Pepper"),
        ("Salt &amp;amp;amp; Pepper", "Salt & Pepper"),
        ("6&quot; &amp;#39;s", "6\" 's"),
        ("Cr&egrave;me&nbsp;Br&#251;l&eacute;e", "Crème Brûlée"),
        ("AT&T", "AT&T"),
    ],
)
def test_fair_decodes_entities_and_paper_keeps_them(raw: str, fair: str) -> None:
    assert clean_title(raw, "fair") == fair
    assert clean_title(raw, "paper") == raw


def test_the_first_25_words_are_kept() -> None:
    words = [f"w{n}" for n in range(30)]
    for style in STYLES:
        assert clean_title("  ".join(words), style) == " ".join(words[:25])


def test_words_are_counted_after_decoding() -> None:
    assert clean_title("&nbsp;".join("a" * 30), "fair") == " ".join("a" * 25)


@pytest.mark.parametrize("raw", ["", "  ", "\n\t", "\x00\x1b"])
def test_a_title_without_a_word_is_unknown(raw: str) -> None:
    for style in STYLES:
        assert clean_title(raw, style) == "Unknown"


def test_a_title_becomes_one_line() -> None:
    for style in STYLES:
        assert clean_title("Kite\r\nTitle: Other\x85next\u2028last", style) == (
            "Kite Title: Other next last"
        )


def test_terminal_escapes_lose_their_power() -> None:
    assert clean_title("\x1b[31mred\x00\x9b1m", "fair") == "[31mred 1m"


def test_markup_is_text() -> None:
    assert clean_title("<script>alert(1)</script>", "fair") == "<script>alert(1)</script>"


@given(st.text(), st.sampled_from(STYLES))
def test_every_clean_title_is_one_line_of_1_to_25_words(raw: str, style: TitleStyle) -> None:
    title = clean_title(raw, style)
    assert 1 <= len(title.split()) <= MAX_WORDS
    assert title == " ".join(title.splitlines()) == " ".join(title.split())
    assert clean_title(title, "paper") == title
