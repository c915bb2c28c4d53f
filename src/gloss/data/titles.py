"""How a raw title becomes the title that models and indexes see."""

from __future__ import annotations

import html
import re
from typing import Literal

__all__ = ["MAX_WORDS", "TitleStyle", "clean_title"]

TitleStyle = Literal["paper", "fair"]

MAX_WORDS = 25
"""Words kept of a title (GLoSS research repository)."""

_MOST_ESCAPED = 3

# Control characters: no title needs them, terminals obey them; the 2014 files hold only \n and \t.
_GAPS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def clean_title(raw: str, style: TitleStyle) -> str:
    """The first 25 words of a title, separated by single spaces; control characters separate too.

    "paper" keeps HTML entities as the published system does; "fair" decodes them, also where they
    were escaped twice. A title without a word becomes "Unknown".

    >>> clean_title("Salt &amp;amp; Pepper  Mills", "fair")
    'Salt & Pepper Mills'
    """
    text = _decode_entities(raw) if style == "fair" else raw
    return " ".join(_GAPS.sub(" ", text).split()[:MAX_WORDS]) or "Unknown"


def _decode_entities(text: str) -> str:
    for _ in range(_MOST_ESCAPED):
        decoded = html.unescape(text)
        if decoded == text:
            break
        text = decoded
    return text
