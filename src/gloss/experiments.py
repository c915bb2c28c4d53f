"""Experiments from YAML and `section.key=value` overrides.

Precedence: command line, then file, then the protocol's preset, then defaults. An unknown key is an
error that names it and its nearest match; nothing is ignored in silence.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gloss.config import (
    AmazonData,
    Decoding,
    Experiment,
    Index,
    LoraModel,
    LoraTraining,
    PresetData,
    Ranking,
    SASRec,
    ScratchModel,
    ShopData,
    Signals,
    TableData,
    Training,
    Transitions,
)
from gloss.errors import ConfigError

__all__ = ["checked", "load_experiment", "with_overrides"]

_Section = TypeVar("_Section", bound=BaseModel)


def load_experiment(path: Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read a YAML file and apply overrides; ConfigError names the file and the setting at fault.

    Relative folders in the file are taken from where the command runs.
    """
    try:
        raw = _parsed(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {_on_one_line(error)}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no settings")
    return with_overrides(raw, overrides, where=str(path))


def with_overrides(
    settings: Mapping[str, Any], overrides: Iterable[str], *, where: str = "settings"
) -> Experiment:
    """Settings with `section.key=value` overrides applied, checked; values are read as YAML."""
    merged = _copied(settings)
    for override in overrides:
        path, sign, value = override.partition("=")
        if not sign or not path:
            raise ConfigError(f"override {override!r} is not section.key=value")
        try:
            _set(merged, path.split("."), _parsed(value), override)
        except yaml.YAMLError as error:
            raise ConfigError(f"override {override!r} is not YAML: {_on_one_line(error)}") from None
    try:
        return Experiment.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{where}: {'; '.join(_explain(error))}") from None


def checked(section: type[_Section], **values: Any) -> _Section:
    """One section from its values; ConfigError names the setting that is impossible."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(error))) from None


class _Loader(yaml.SafeLoader):
    """Refuses a setting that stands there twice; YAML keeps the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.YAMLError(f"{name} stands there twice")
        return super().construct_mapping(node, deep)


def _parsed(text: str) -> Any:
    return yaml.load(text, _Loader)


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _copied(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in settings.items()}


def _set(settings: dict[str, Any], path: list[str], value: Any, override: str) -> None:
    *sections, key = path
    for section in sections:
        inner = settings.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override {override!r}: {section} is not a section")
        settings = inner
    settings[key] = value


_TAGS = ("shop", "amazon", "table", "preset", "scratch", "lora")


def _explain(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        # A discriminated section puts its tag into the path ("data.amazon.category").
        place = [str(part) for part in problem["loc"] if part not in _TAGS]
        name = ".".join(place)
        if problem["type"] == "extra_forbidden":
            yield f"unknown setting {name}{_nearest(place, problem['loc'])}"
        else:
            yield f"{name or 'settings'}: {problem['msg'].removeprefix('Value error, ')}"


def _nearest(place: list[str], location: tuple[int | str, ...]) -> str:
    known: dict[tuple[str, ...], type[BaseModel]] = {
        ("data", "shop"): ShopData,
        ("data", "amazon"): AmazonData,
        ("data", "table"): TableData,
        ("data", "preset"): PresetData,
        ("model", "scratch"): ScratchModel,
        ("model", "lora"): LoraModel,
        ("training", "scratch"): Training,
        ("training", "lora"): LoraTraining,
        ("decoding",): Decoding,
        ("index",): Index,
        ("ranking",): Ranking,
        ("signals",): Signals,
        ("signals", "transitions"): Transitions,
        ("signals", "two_step"): Transitions,
        ("signals", "sasrec"): SASRec,
    }
    section = known.get(tuple(str(part) for part in location[:-1]), Experiment)
    fields = [name for name, field in section.model_fields.items() if not field.exclude]
    match = difflib.get_close_matches(place[-1], fields, n=1)
    return f" (did you mean {match[0]}?)" if match else f" (known: {', '.join(fields)})"
