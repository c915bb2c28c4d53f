"""Writes docs/cli.md from the commands themselves; with --check, says whether it is up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from gloss.cli.main import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The commands

Made from the help of the commands by `make docs`. `gloss --debug …` shows the trace of an error;
exit code 2 is a wrong call, 1 a failure.
"""


def main() -> None:
    """Write the page, or compare it."""
    text = HEAD + "\n".join(_pages(typer.main.get_command(app), "gloss"))
    if "--check" not in sys.argv:
        PAGE.write_text(text, "utf-8")
    elif not PAGE.is_file() or PAGE.read_text("utf-8") != text:
        sys.exit("docs/cli.md is not what the commands say: run `make docs`")


def _pages(command: Any, name: str) -> Iterator[str]:
    for child, each in getattr(command, "commands", {}).items():
        path = f"{name} {child}"
        if hasattr(each, "commands"):
            yield from _pages(each, path)
        else:
            yield "\n".join(_page(each, path))


def _page(command: Any, path: str) -> Iterator[str]:
    text, _, example = command.help.partition("Example: ")
    yield f"\n## {path}\n"
    yield " ".join(text.split())
    yield f"\n```\n{' '.join(example.split())}\n```\n"
    yield "| option | meaning | default |"
    yield "|---|---|---|"
    for option in command.params:
        if "--help" not in option.opts:
            yield f"| {_names(option)} | {option.help or ''} | {_default(option)} |"


def _names(option: Any) -> str:
    if not option.opts[0].startswith("-"):
        return f"`{option.metavar or option.name}`"
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _default(option: Any) -> str:
    if option.required:
        return "required"
    shown = option.default
    return "" if shown is None or shown is False or shown == [] or callable(shown) else f"`{shown}`"


if __name__ == "__main__":
    main()
