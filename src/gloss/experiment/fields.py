"""The sections of a settings model, found by walking its fields: for messages and for the docs.

Nothing here names a section, so a setting that is added to a model is known everywhere at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

__all__ = ["Section", "sections"]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the settings.

    path: where it stands, () for the settings as a whole. choice: the word that chooses it, where
    several models may stand there ("amazon" of `data.source`). default: what holds where the
    section is left out, which may differ from the model's own defaults; None where it is required.
    """

    path: tuple[str, ...]
    choice: str
    model: type[BaseModel]
    default: BaseModel | None

    @property
    def location(self) -> tuple[str, ...]:
        """How pydantic's errors call this place: path, then choice."""
        return (*self.path, self.choice) if self.choice else self.path

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the settings and sections that may be typed here."""
        fields = self.model.model_fields.items()
        return tuple(name for name, field in fields if not field.exclude)


def sections(model: type[BaseModel]) -> Iterator[Section]:
    """A settings model and every section below it, outer ones first."""
    yield from _below(Section((), "", model, None))


def _below(section: Section) -> Iterator[Section]:
    yield section
    for name, field in section.model.model_fields.items():
        default = getattr(section.default, name, field.get_default(call_default_factory=True))
        models = list(_models_in(field.annotation))
        for model in models:
            usual = default if isinstance(default, model) else None
            for choice in _choices(model) if len(models) > 1 else ("",):
                yield from _below(Section((*section.path, name), choice, model, usual))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation is made of: itself, or members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            yield from _models_in(argument)


def _choices(model: type[BaseModel]) -> tuple[str, ...]:
    """The words that choose this model among others: what its first field may hold."""
    first = next(iter(model.model_fields.values()))
    return tuple(map(str, get_args(first.annotation)))
