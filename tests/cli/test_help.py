from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest
import typer

from gloss.cli.app import app
from gloss.cli.main import main
from gloss.errors import ConfigError

ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def command_at(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words begin with, and its arguments."""
    command: Any = ROOT
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    return command, words


COMMANDS = sorted(commands())


def test_these_are_the_commands():
    assert {" ".join(path) for path in COMMANDS} >= {
        "demo",
        "run",
        "report",
        "prepare amazon",
        "prepare table",
        "prepare shop",
        "train",
        "generate",
        "index",
        "rank",
        "baseline",
        "evaluate",
        "fuse",
        "recommend",
        "doctor",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_explains_itself_with_an_example(gloss, path, option):
    said = gloss(*path, option)
    assert said.code == 0
    assert f"Example: gloss {' '.join(path)}" in " ".join(said.out.split())
    assert said.err == ""


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_example_is_a_call_that_is_understood(path):
    command, _ = command_at([*path])
    (example,) = [line for line in command.help.splitlines() if line.startswith("Example: ")]
    words = shlex.split(example.removeprefix("Example: gloss "))
    found, arguments = command_at(words)
    assert found is command
    command.make_context(path[-1], arguments)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is_for(path):
    command, _ = command_at([*path])
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []


def test_the_whole_explains_itself(gloss):
    said = gloss("-h")
    assert said.code == 0
    assert "Start with: gloss demo" in said.out
    assert all(path[0] in said.out for path in COMMANDS)


def test_without_a_command_it_explains_itself_and_the_call_was_wrong(gloss):
    for call in ((), ("prepare",)):
        said = gloss(*call)
        assert said.code == 2
        assert "Usage: gloss" in said.out + said.err


def test_it_says_its_version(gloss):
    said = gloss("--version")
    assert (said.code, said.out) == (0, f"{metadata.version('gloss-rec')}\n")


@pytest.mark.parametrize("call", [("--debug", "run", "none"), ("run", "none", "--debug")])
def test_debug_shows_the_trace_wherever_it_stands(monkeypatch, call):
    monkeypatch.setattr(sys, "argv", ["gloss", *call])
    with pytest.raises(ConfigError, match="none does not exist"):
        main()
