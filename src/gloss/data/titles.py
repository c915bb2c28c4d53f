"""How a raw title becomes the title that models and indexes see."""

from __future__ import annotations

import html
import re
import unicodedata

from gloss.choices import TitleStyle

__all__ = ["MAX_WORDS", "TitleStyle", "clean_title", "has_words"]

MAX_WORDS = 25
"""Words kept of a title (GLoSS research repository)."""

_MOST_ESCAPED = 3
_UNKNOWN = "Unknown"

# Control characters: no title needs them, terminals obey them; the 2014 files hold only \n and \t.
_GAPS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")

# What is not seen: zero-width spaces, soft hyphens, and signs that turn the direction of text.
_UNSEEN = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")

# Signs that turn the direction of what follows, also outside the title; the 2014 files hold none.
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")

# A (non-)joiner means something between letters of Indic scripts or Arabic, and between emoji.
_LONE_JOINER = re.compile(
    "(?<![\u0600-\U0010ffff])[\u200c\u200d]|[\u200c\u200d](?![\u0600-\U0010ffff])"
)

# Only the names that HTML knows: "<Untitled>" and "I <3 kites" are titles.
_INLINE = (
    "a|abbr|b|big|cite|code|del|em|font|i|ins|kbd|mark|q|s|small|span|strike|strong|sub|sup|tt|u|"
    "wbr"
)
_BLOCK = (
    "address|article|aside|blockquote|body|br|button|center|dd|div|dl|dt|form|h[1-6]|head|header|"
    "hr|html|iframe|img|input|label|li|link|meta|nobr|ol|option|p|pre|script|section|select|style|"
    "table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video"
)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK})(?:\s[^<>]*)?/?>|<!--.*?-->", re.IGNORECASE | re.DOTALL)


def clean_title(raw: str, style: TitleStyle) -> str:
    """The first 25 words of a title, separated by single spaces; control characters separate too.

    Embeddings, overrides and isolates of direction are gone: they would turn whatever a title is
    printed beside. "paper" changes nothing else, as the published system. "fair" decodes HTML
    entities, also where they were escaped twice, strips HTML tags, removes what cannot be seen
    (zero-width spaces, marks of direction), and composes letters with their accents (NFC). A title
    without a word becomes "Unknown".

    >>> clean_title("<b>Salt</b> &amp;amp; Pepper  Mills", "fair")
    'Salt & Pepper Mills'
    """
    text = _repaired(raw) if style == "fair" else _TURNS.sub("", raw)
    return " ".join(_GAPS.sub(" ", text).split()[:MAX_WORDS]) or _UNKNOWN


def has_words(raw: str) -> bool:
    """Whether anything is left of a title when it is cleaned.

    >>> has_words("&nbsp;<br/>"), has_words("Unknown")
    (False, True)
    """
    return bool(_GAPS.sub("", _repaired(raw)))


def _repaired(raw: str) -> str:
    text = _decode_entities(raw)
    if "<" in text:
        text = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", text))
    if text.isascii():
        return text
    text = _LONE_JOINER.sub("", _UNSEEN.sub("", text))
    return unicodedata.normalize("NFC", text)


def _decode_entities(text: str) -> str:
    for _ in range(_MOST_ESCAPED):
        decoded = html.unescape(text)
        if decoded == text:
            break
        text = decoded
    return text
