"""Writes docs/cli.md from the commands themselves; with --check, says whether it is up to date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main
from pages import table, write_or_check

from gloss.cli.app import app

HEAD = """# The commands

Made from the help of the commands by `make docs`. `gloss --debug …` shows the trace of an error;
exit code 2 is a wrong call, 1 a failure, 128 + N the end by signal N.
"""


def main() -> None:
    """Write the page, or compare it."""
    write_or_check("cli.md", HEAD + "\n".join(_pages(typer.main.get_command(app), "gloss")))


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
    options = [option for option in command.params if "--help" not in option.opts]
    yield from table(
        ("option", "meaning", "default"),
        ((_names(option), option.help or "", _default(option)) for option in options),
    )


def _names(option: Any) -> str:
    if not option.opts[0].startswith("-"):
        return f"`{option.metavar or option.name}`"
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _default(option: Any) -> str:
    if option.required:
        return "required"
    shown = option.default
    if shown is None or shown is False or shown in ([], "") or callable(shown):
        return ""
    return f"`{shown}`"


if __name__ == "__main__":
    main()
