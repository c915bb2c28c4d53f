from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.titles import MAX_WORDS, TitleStyle, clean_title, has_words

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


@pytest.mark.parametrize(
    ("raw", "fair"),
    [
        ("<b>Blue</b> kite <br/>", "Blue kite"),
        ("Blue<br>kite", "Blue kite"),
        ("H<sub>2</sub>O", "H2O"),
        ("&lt;b&gt;Blue&lt;/b&gt; kite", "Blue kite"),
        ('<a href="x">Kite</a><!-- old -->', "Kite"),
        ("<script>alert(1)</script>", "alert(1)"),
        ("I <3 kites, a < b > c", "I <3 kites, a < b > c"),
        ("<Untitled>", "<Untitled>"),
    ],
)
def test_fair_strips_tags_that_html_knows_and_no_other(raw: str, fair: str) -> None:
    assert clean_title(raw, "fair") == fair
    assert clean_title(raw, "paper") == raw


@pytest.mark.parametrize(
    ("raw", "fair"),
    [
        ("Cafe\u0301", "Caf\u00e9"),
        ("ki\u200bte\ufeff", "kite"),
        ("\u202eReversed\u202c lamp", "Reversed lamp"),
        ("co\u00adoper", "cooper"),
        ("kite\u200d \u200clamp", "kite lamp"),
        ("\U0001f469\u200d\U0001f467 doll", "\U0001f469\u200d\U0001f467 doll"),
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
        ("\uff26\uff55\uff4c\uff4c", "\uff26\uff55\uff4c\uff4c"),
    ],
)
def test_fair_composes_letters_and_removes_what_cannot_be_seen(raw: str, fair: str) -> None:
    assert clean_title(raw, "fair") == fair


@pytest.mark.parametrize("sign", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
@pytest.mark.parametrize("style", STYLES)
def test_what_would_turn_the_text_beside_a_title_is_in_none(sign: str, style: TitleStyle) -> None:
    assert clean_title(f"{sign}Red {sign} kite{sign}", style) == "Red kite"


@pytest.mark.parametrize(
    "raw", ["", "&nbsp;", "<br/>", "\u200b", " \u202e\ufeff", "\x00", "<b> </b>"]
)
def test_a_title_of_which_nothing_is_left_has_no_words(raw: str) -> None:
    assert not has_words(raw)
    assert has_words(raw + "x")


@given(st.text(), st.sampled_from(STYLES))
def test_every_clean_title_is_one_line_of_1_to_25_words(raw: str, style: TitleStyle) -> None:
    title = clean_title(raw, style)
    assert 1 <= len(title.split()) <= MAX_WORDS
    assert title == " ".join(title.splitlines()) == " ".join(title.split())
    assert clean_title(title, "paper") == title
