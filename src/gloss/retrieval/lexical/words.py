"""The words of a text in any script. Knows letters; no index.

"published" is what bm25s takes by default: runs of two letters or digits and more. It cuts Hindi at
every vowel sign, and takes a Chinese title for one word. "any-script" gives the same words for
texts in Latin, Greek or Cyrillic, and besides

- a mark (a vowel sign, an accent of its own) belongs to the letter before it;
- scripts without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are read as
  letters and overlapping pairs of letters: Nie and Ren, Information Processing & Management 1999;
- one Korean syllable is a word.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Literal

__all__ = ["WordRule", "words_of"]

WordRule = Literal["any-script", "published"]

_PUBLISHED = re.compile(r"(?u)\b\w\w+\b")

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"  # Chinese characters
)
"""Scripts that put no space between words, as ranges of a regular expression."""


def words_of(rule: WordRule) -> Callable[[str], list[str]]:
    """The function from a text to its words, in lower case and in order.

    >>> words_of("any-script")("The Red KITE, 5 m"), words_of("published")("The Red KITE, 5 m")
    (['the', 'red', 'kite'], ['the', 'red', 'kite'])
    >>> words_of("any-script")("हिन्दी किताब"), words_of("published")("हिन्दी किताब")
    (['हिन्दी', 'किताब'], [])
    >>> words_of("any-script")("红色风筝 XL")
    ['红', '色', '风', '筝', '红色', '色风', '风筝', 'xl']
    """
    return _published if rule == "published" else _any_script


def _published(text: str) -> list[str]:
    return _PUBLISHED.findall(text.lower())


def _any_script(text: str) -> list[str]:
    text = text.lower()
    if text.isascii():
        return _PUBLISHED.findall(text)
    words: list[str] = []
    unspaced, spaced, letters = _patterns()
    for run in unspaced.finditer(text):
        if run.lastgroup == "unspaced":
            clusters = letters.findall(run.group())
            words += [*clusters, *map("".join, pairwise(clusters))]
        elif spaced.search(run.group()):
            words.append(run.group())
    return words


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Three patterns: a run of letters and marks; what a spaced run must hold; one letter."""
    marks = "".join(
        re.escape(chr(code))
        for code in range(0x300, sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Mn", "Mc") and not _is_selector(code)
    )
    of_unspaced = rf"[{_UNSPACED}{marks}]"
    unspaced = rf"(?P<unspaced>[{_UNSPACED}]{of_unspaced}*)"
    spaced = rf"(?P<spaced>(?:(?![{_UNSPACED}])[\w{marks}])+)"
    return (
        re.compile(f"{unspaced}|{spaced}"),
        re.compile(rf"\w[{marks}]*\w|[\uac00-\ud7a3]"),
        re.compile(rf"\w[{marks}]*|[{marks}]+"),
    )


def _is_selector(code: int) -> bool:
    """Variation selectors, which choose a picture and are part of no word."""
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
