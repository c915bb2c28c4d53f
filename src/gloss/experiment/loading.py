"""Experiments from YAML and `section.key=value` overrides.

Precedence: command line, then file, then the protocol's preset, then defaults. The name may hold
other settings (`name: "{data.category}-small"`). An unknown key is an error that names it and its
nearest match; nothing is ignored silently. Whatever a file holds, it is settings or an error of one
line: regular files of bounded size only, values without aliases.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gloss.errors import ConfigError, did_you_mean, on_one_line
from gloss.experiment.fields import Section, sections
from gloss.experiment.settings import Experiment

__all__ = ["checked", "load_experiment", "with_overrides"]

_Section = TypeVar("_Section", bound=BaseModel)

_MAX_BYTES = 2**18
_MAX_DEPTH = 8

_UNUSABLE = re.compile("[\0\ud800-\udfff]")
"""NUL, which ends a path, and lone surrogates, which UTF-8 cannot write."""

_RENAMED = {
    "signals": "rankers",
    "rankers.fusion": "fusion.rule",
    "rankers.shifted_run": "fusion.shifted_run",
    "rankers.validation_users": "fusion.validation_users",
    "rankers.tuning": "rankers.dual_encoder",
    "rankers.text": "rankers.title_similarity",
    "rankers.two_step": "rankers.second_order_transitions",
    "rankers.words": "rankers.word_overlap",
    "training.agreement": "training.r_drop",
    "index.blend": "index.fusion",
    "emphasis": "history_length_power",
    "own_dropout": "residual_dropout",
    "own_rate": "residual_learning_rate",
    "rehearsal": "fusion.shifted_run",
}
"""Settings that had another name, by path or by last word: the name that they have now."""

_RENAMED_VALUES = {
    "two-step": "second-order-transitions",
    "text": "title-similarity",
    "tuned": "dual-encoder",
    "words": "word-overlap",
    "rank": "reciprocal-rank",
    "rrf": "reciprocal-rank",
}
"""The same for rankers and for rules of fusion, which are values."""


def load_experiment(path: Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read a YAML file and apply overrides; ConfigError names the file and the setting at fault.

    Relative folders in the file are taken from where the command runs.
    """
    try:
        raw = _parsed(_content(Path(path)))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {on_one_line(str(error))}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no settings")
    return with_overrides(raw, overrides, where=str(path))


def with_overrides(
    settings: Mapping[str, Any], overrides: Iterable[str], *, where: str = "settings"
) -> Experiment:
    """Settings with `section.key=value` overrides applied, checked; values are read as YAML."""
    merged = _copied(settings, where)
    for override in overrides:
        path, sign, value = override.partition("=")
        if not sign or not path:
            raise ConfigError(f"override {override!r} is not section.key=value")
        try:
            _set(merged, path.split("."), _parsed(value), override)
        except yaml.YAMLError as error:
            message = on_one_line(str(error))
            raise ConfigError(f"override {override!r} is not YAML: {message}") from None
    _fill_name(merged, where)
    try:
        return Experiment.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{where}: {'; '.join(_explain(error, Experiment))}") from None


def checked(section: type[_Section], **values: Any) -> _Section:
    """One section from its values; ConfigError names the setting that is impossible."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(error, section))) from None


def _content(path: Path) -> str:
    """The text of a regular file. A pipe would wait for a writer, and a device never end."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path} cannot be read: it is not a file")
        if found.st_size > _MAX_BYTES:
            raise ConfigError(f"{path} holds no settings: it has {found.st_size:,} bytes")
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML without what settings do not need and what goes wrong silently or without a message.

    A setting that stands there twice is refused, where YAML keeps the last one. So are aliases
    (`*name`), which may contain themselves or stand for billions of values.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) is not supported: write the value itself")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for name, count in names.items():
            if count > 1:
                raise yaml.YAMLError(f"{name} stands there twice")
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """PyYAML lets the errors of Python through: of `2024-13-45`, `0x_`, `!!int abc`."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.YAMLError(f"{node.value!r:.80} is not of the type {kind}") from None
        if isinstance(value, str) and _UNUSABLE.search(value):
            raise yaml.YAMLError(f"{value!r:.80} holds a character that no name or path can hold")
        return value


def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None


def _copied(settings: Mapping[str, Any], where: str, depth: int = 1) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise ConfigError(f"{where}: sections are nested too deeply")
    return {
        key: _copied(value, where, depth + 1) if isinstance(value, Mapping) else value
        for key, value in settings.items()
    }


def _set(settings: dict[str, Any], path: list[str], value: Any, override: str) -> None:
    *outer, key = path
    for name in outer:
        inner = settings.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override {override!r}: {name} is not a section")
        settings = inner
    settings[key] = value


def _fill_name(settings: dict[str, Any], where: str) -> None:
    """Put settings into the name, `{data.category}` say, so that one file names several runs."""

    def value(match: re.Match[str]) -> str:
        found: Any = settings
        for key in match[1].split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, str | int):
            raise ConfigError(f"{where}: name: {match[1]} is not set")
        return str(found)

    if isinstance(settings.get("name"), str):
        settings["name"] = re.sub(r"\{([\w.]+)\}", value, settings["name"])


def _explain(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """What is wrong, setting by setting, in words."""
    known = {section.location: section for section in sections(model)}
    for problem in error.errors():
        location = tuple(map(str, problem["loc"]))
        section = _section_of(location, known)
        name = ".".join((*section.path, *location[len(section.location) :]))
        if problem["type"] == "extra_forbidden":
            yield f"unknown setting {name} ({_hint(name, section)})"
        else:
            said = problem["msg"].removeprefix("Value error, ")
            yield f"{name or 'settings'}: {said}{_new_word(problem)}"


def _section_of(location: tuple[str, ...], known: Mapping[tuple[str, ...], Section]) -> Section:
    """The innermost section that an error's location lies in.

    pydantic puts the choice between models into a location ("data.amazon.category"), which nobody
    has typed; a section knows both.
    """
    return next(
        known[location[:end]] for end in range(len(location), -1, -1) if location[:end] in known
    )


def _new_word(problem: ErrorDetails) -> str:
    """What a value that had another name is called now, if that is what was expected."""
    now = _RENAMED_VALUES.get(str(problem["input"]))
    if now and repr(now) in problem.get("ctx", {}).get("expected", ""):
        return f" ({problem['input']} is now called {now})"
    return ""


def _hint(name: str, section: Section) -> str:
    last = name.rpartition(".")[2]
    if now := _RENAMED.get(name) or _RENAMED.get(last):
        return f"it is now called {now}"
    return did_you_mean(last, section.settings)
