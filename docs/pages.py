"""What the generated pages of this folder share: tables, and writing or checking a page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDER = Path(__file__).parent


def write_or_check(name: str, text: str) -> None:
    """Write a page of this folder; with --check, exit with a message if it is not up to date."""
    page = FOLDER / name
    if "--check" not in sys.argv:
        page.write_text(text, "utf-8")
    elif not page.is_file() or page.read_text("utf-8") != text:
        sys.exit(f"docs/{name} is not what the code says: run `make docs`")


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    names = list(columns)
    yield _line(names)
    yield "|" + "---|" * len(names)
    yield from map(_line, rows)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
