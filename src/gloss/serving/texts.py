"""Texts that a request may hold: bounded, and without what no title or id needs."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

__all__ = ["MAX_HISTORY", "MAX_K", "Id", "Text"]

MAX_HISTORY = 1_000
"""Purchases of a history; older ones are left out by whoever sends it."""

MAX_K = 100
"""Items of a list."""

_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters (NUL is no text to PostgreSQL) and lone surrogates (no UTF-8)."""


def _without_controls(text: str) -> str:
    if _CONTROLS.search(text):
        raise ValueError("holds a control character or half a character")
    return text


Text = Annotated[
    str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_without_controls)
]
"""A title, or an id or title of a history."""

Id = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(_without_controls)
]
"""An id of a user, an item or an event."""
