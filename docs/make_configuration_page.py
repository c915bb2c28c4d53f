"""Writes docs/configuration.md from the settings' models; with --check, says whether it is up to
date."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from pages import table, write_or_check

from gloss.experiment.fields import Section, sections
from gloss.experiment.settings import Experiment

HEAD = """# The configuration

Made from the settings' models by `make docs`. An experiment is a YAML file (`configs/` holds some)
with the sections below. `section.key=value` behind `gloss run CONFIG` changes single settings, and
`--dry-run` prints all of them as they would be used. Every setting but those called required has a
default; an empty default means off, or as the [protocol](protocol.md) says. Unknown settings are
errors.
"""
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}


def main() -> None:
    """Write the page, or compare it."""
    parts = ("\n".join(_part(section)) for section in sections(Experiment))
    write_or_check("configuration.md", HEAD + "\n".join(parts))


def _part(section: Section) -> Iterator[str]:
    yield f"\n## {_title(section)}\n"
    yield f"{' '.join((inspect.getdoc(section.model) or '').split())}\n"
    yield from table(("setting", "meaning", "values", "default"), _rows(section))


def _title(section: Section) -> str:
    path = ".".join(section.path) or "the experiment"
    if not section.choice:
        return path
    chosen_by = next(iter(section.model.model_fields))
    return f"{path}, {chosen_by} {section.choice}"


def _rows(section: Section) -> Iterator[tuple[str, str, str, str]]:
    schema = section.model.model_json_schema()
    inner = {each.path for each in sections(section.model)}
    for name in section.settings:
        field = section.model.model_fields[name]
        is_section = (name,) in inner
        values = "a section" if is_section else _values(schema["properties"][name], schema)
        if field.is_required():
            default = "required"
        else:
            usual = getattr(section.default, name, field.get_default(call_default_factory=True))
            default = "" if is_section else _default(usual)
        yield f"`{name}`", field.description or "", values, default


def _values(described: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a setting may hold, from its JSON schema."""
    if "$ref" in described:
        described = schema["$defs"][described["$ref"].rpartition("/")[2]]
    if "anyOf" in described:
        kinds = [each for each in described["anyOf"] if each.get("type") != "null"]
        return " or ".join(_values(each, schema) for each in kinds)
    if "const" in described:
        return f"`{described['const']}`"
    if "enum" in described:
        return ", ".join(f"`{word}`" for word in described["enum"])
    if described.get("type") == "array":
        return _list(described, schema)
    bounds = [text.format(_number(described[k])) for k, text in _BOUNDS.items() if k in described]
    return ", ".join((_kind(described), *bounds))


def _list(described: dict[str, Any], schema: dict[str, Any]) -> str:
    if "prefixItems" in described:
        return f"[{'; '.join(_values(each, schema) for each in described['prefixItems'])}]"
    return f"a list of: {_values(described['items'], schema)}"


def _kind(described: dict[str, Any]) -> str:
    if described.get("format") == "path":
        return "path"
    names = {"integer": "integer", "number": "number", "string": "text", "boolean": "true, false"}
    return names[described["type"]]


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _default(value: Any) -> str:
    if value is None or value == ():
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value, default=str)}`"


if __name__ == "__main__":
    main()
