"""Configurations and command lines that nobody would write: each is settings, or one line.

    python -m campaign --only configurations,commands

Drawn by Hypothesis from its seed: YAML texts near a whole experiment and far from any, overrides,
and calls of every command with options left out, doubled, misspelled and given hostile values.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import hypothesis
import yaml
from hypothesis import HealthCheck
from hypothesis import strategies as st

from campaign.ledger import BAD, Row, judged
from processes import TINY, Processes

__all__ = ["try_commands", "try_configurations"]

_SECONDS = 30
_NEED_A_NETWORK_OR_MINUTES = {("demo",), ("models", "pull"), ("models", "push"), ("serve",)}
"""The last ends only when it is stopped."""

_HOSTILE_TEXTS = (
    *("", " ", "\0", "\x1b[2J\x1b[31m", "\u202egnp.exe", "\ud800", "ß" * 300, "a" * 100_000),
    *("-", "--", "-1", "nan", "inf", "-inf", "1e999", "0x_", "2024-13-45", "{", "[", "]", "*a"),
    *("!!int abc", "&a [*a]", "!!python/object:os.system x", "{data.users}", "{a.b.c}", "%", "~"),
    *("2147483648", "9223372036854775808", "1" * 500, "../../etc/passwd", "/dev/null", "/"),
    *("<script>alert(1)</script>", '=HYPERLINK("x")', "\\input{x}", "null", "true", "1", "0.5"),
)
_texts = st.one_of(st.sampled_from(_HOSTILE_TEXTS), st.text(max_size=20))
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from((0, -1, 2**31, 2**32, 2**63, 10**30)),
    st.floats(),
    _texts,
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_texts | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


def try_configurations(folder: Path, *, trials: int, seed: int) -> list[Row]:
    """`trials` files, some of them with overrides."""
    row = Row("configurations", "YAML and overrides")
    file = folder / "fuzzed.yaml"

    def attempt(text: str, overrides: list[str]) -> None:
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        row.add(*_loaded(file, overrides), f"{overrides!r:.300} {text!r:.700}")

    _draw(attempt, _documents(), st.lists(_overrides(), max_size=2), trials=trials, seed=seed)
    return [row]


def _loaded(file: Path, overrides: list[str]) -> tuple[str]:
    from gloss.errors import ConfigError, on_one_line
    from gloss.experiment.loading import load_experiment

    try:
        with _limited(_SECONDS):
            load_experiment(file, overrides)
    except ConfigError as error:
        return ("refused" if on_one_line(str(error)) else "words",)
    except _OverLimitError:
        return ("hang",)
    except Exception:
        return ("traceback",)
    return ("well",)


def _documents() -> st.SearchStrategy[str]:
    """Whole experiments with one value replaced, ones with parts added, and any text."""
    whole = yaml.safe_load(TINY)
    paths = [(name, key) for name, part in whole.items() if isinstance(part, dict) for key in part]
    names = st.sampled_from([*whole, "rankers", "fusion", "index", "ranking", "protocol", "seed"])
    replaced = st.builds(_with, st.sampled_from(paths), _values)
    added = st.builds(lambda name, value: {**whole, name: value}, names, _values)
    dumped = st.one_of(replaced, added, _values).map(_dumped)
    spoiled = st.builds(_spoiled, st.integers(0, len(TINY)), _texts, st.integers(0, 8))
    return st.one_of(dumped, spoiled, _texts)


def _with(path: tuple[str, str], value: Any) -> dict[str, Any]:
    whole: dict[str, Any] = yaml.safe_load(TINY)
    whole[path[0]][path[1]] = value
    return whole


def _dumped(value: Any) -> str:
    try:
        return str(yaml.safe_dump(value))
    except yaml.YAMLError:
        return repr(value)


def _spoiled(place: int, text: str, lost: int) -> str:
    return TINY[:place] + text + TINY[place + lost :]


def _overrides() -> st.SearchStrategy[str]:
    from gloss.experiment.fields import sections
    from gloss.experiment.settings import Experiment

    known = [
        ".".join((*section.path, name))
        for section in sections(Experiment)
        for name in section.settings
    ]
    values = st.one_of(_texts, _values.map(_dumped))
    keyed = st.builds("{}={}".format, st.sampled_from(known) | _texts, values)
    return st.one_of(keyed, _texts)


def try_commands(
    processes: Processes, made: dict[str, Path], folder: Path, *, trials: int, seed: int
) -> list[Row]:
    """`trials` calls, shared out over the commands."""
    commands = _commands()
    rows = []
    for name, parameters in commands.items():
        row = Row("commands", " ".join(name))
        strategy = _calls(parameters, made, folder)
        attempt = _attempt(row, processes, name, folder / "here")
        _draw(attempt, strategy, trials=max(1, trials // len(commands)), seed=seed)
        rows.append(row)
    return rows


def _attempt(
    row: Row, processes: Processes, name: tuple[str, ...], here: Path
) -> Callable[[list[str]], None]:
    def attempt(arguments: list[str]) -> None:
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        typed = [each.replace("\0", "\\0") for each in arguments]  # no argument can hold NUL
        ended = processes.gloss(*name, *typed, limit=_SECONDS, where=here)
        outcome = judged(ended)
        if "\x1b" in ended.stderr + ended.stdout or "\u202e" in ended.stderr + ended.stdout:
            outcome = "words"
        said = ended.stderr[-800:] if outcome in BAD else ""
        row.add(outcome, f"{[*name, *typed]!r:.700}: {said}")

    return attempt


def _commands() -> dict[tuple[str, ...], list[Any]]:
    """Every command with its parameters, as the application declares them."""
    from typer.main import get_command

    from gloss.cli.app import app

    found: dict[tuple[str, ...], list[Any]] = {}

    def visit(name: tuple[str, ...], command: Any) -> None:
        for word, inner in getattr(command, "commands", {}).items():
            visit((*name, word), inner)
        if name and not hasattr(command, "commands"):
            found[name] = list(command.params)

    visit((), get_command(app))
    return {name: found[name] for name in found if name not in _NEED_A_NETWORK_OR_MINUTES}


def _calls(
    parameters: list[Any], made: dict[str, Path], folder: Path
) -> st.SearchStrategy[list[str]]:
    paths = [str(path) for path in made.values()]
    paths += [str(folder / name) for name in ("missing", "small.yaml")] + ["out", "."]
    values = st.one_of(st.sampled_from(paths), st.sampled_from(paths), _texts, _numbers())
    options = [_option(each, values) for each in parameters if each.param_type_name == "option"]
    arguments = [values for each in parameters if each.param_type_name == "argument"]
    parts = st.lists(st.one_of(*options, *arguments, values), max_size=6) if options else values
    return parts.map(lambda drawn: [word for part in drawn for word in _words(part)])


def _option(parameter: Any, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    name = st.sampled_from([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return name.map(lambda flag: [flag])
    choices = [each for each in get_args(parameter.bare_type) if isinstance(each, str)]
    known = st.sampled_from(choices) if choices else values
    return st.builds(lambda flag, value: [flag, value], name, st.one_of(known, values))


def _words(part: str | list[str]) -> list[str]:
    return [part] if isinstance(part, str) else part


def _numbers() -> st.SearchStrategy[str]:
    return st.sampled_from(("0", "1", "-1", "3", "0.5", "nan", "1e308", "4294967296", "9" * 40))


def _draw(test: Callable[..., None], *strategies: Any, trials: int, seed: int) -> None:
    settings = hypothesis.settings(
        max_examples=trials, deadline=None, database=None, suppress_health_check=[*HealthCheck]
    )
    hypothesis.seed(seed)(settings(hypothesis.given(*strategies)(test)))()


class _OverLimitError(Exception):
    pass


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Raise in the block when it takes longer."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise _OverLimitError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
