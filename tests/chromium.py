"""Debian's Chromium, for tests that drive a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["MISSING", "chromium"]

_PROGRAM = Path("/usr/bin/chromium")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

MISSING = [
    name
    for name, found in (
        ("playwright", find_spec("playwright")),
        (str(_PROGRAM), _PROGRAM.exists()),
    )
    if not found
]
"""What is not installed here, of what driving a page needs."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, until the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=str(_PROGRAM), args=_ARGUMENTS)
        yield browser
        browser.close()
