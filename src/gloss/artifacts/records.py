"""What a manifest records of one kind of artefact, as typed values: its `config`, its `summary`.

Each kind's own records stand beside what writes that kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gloss.artifacts.manifest import Json
from gloss.artifacts.reading import Artifact
from gloss.errors import ArtifactError

__all__ = ["ArtifactConfig", "ArtifactSummary", "read_recorded"]

M = TypeVar("M", bound=BaseModel)


class ArtifactConfig(BaseModel):
    """How artefacts of one kind are made. Unknown, missing and wrongly typed keys are errors.

    >>> class KiteConfig(ArtifactConfig):
    ...     omitted_if_none = frozenset({"tail"})
    ...     colours: tuple[str, ...]
    ...     tail: int | None = None
    >>> KiteConfig(colours=("red",)).to_json()
    {'colours': ['red']}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    omitted_if_none: ClassVar[frozenset[str]] = frozenset()
    """Keys that a manifest does not have where they are None."""

    def to_json(self) -> Json:
        """As a manifest has it."""
        config = self.model_dump(mode="json")
        omitted = {key for key in self.omitted_if_none if config[key] is None}
        return {key: value for key, value in config.items() if key not in omitted}

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Read it back; ArtifactError, in one line, if it is not as this version writes it."""
        return read_recorded(cls, artifact.config, of=artifact)


class ArtifactSummary(BaseModel):
    """What came out of making artefacts of one kind, as far as it is read again."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    def to_json(self) -> Json:
        """As a manifest has it."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Read it back; ArtifactError, in one line, if a key is missing or of another type."""
        return read_recorded(cls, artifact.summary, of=artifact)


def read_recorded(model: type[M], values: Mapping[str, Any], *, of: Artifact) -> M:
    """Values of a manifest as an instance of a model.

    Raises ArtifactError that names the artefact and every key that does not fit.
    """
    try:
        return model.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        wrong = ", ".join(dict.fromkeys(map(_what_is_wrong, error.errors())))
    raise ArtifactError(f"{of.path} was made by another version of GLoSS ({wrong}): make it again")


def _what_is_wrong(problem: Mapping[str, Any]) -> str:
    name = _dotted(problem["loc"])
    said = {"missing": "is missing", "extra_forbidden": "is unknown"}.get(problem["type"])
    return f"{name} {said}" if said else f"{name}: {problem['msg']}"


def _dotted(parts: Iterable[int | str]) -> str:
    return ".".join(map(str, parts))
