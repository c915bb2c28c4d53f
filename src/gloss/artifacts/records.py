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

__all__ = ["ArtifactConfig", "ArtifactSummary", "typed"]

M = TypeVar("M", bound=BaseModel)


class ArtifactConfig(BaseModel):
    """How artefacts of one kind are made. A manifest that says less or more was not read by us.

    >>> class KiteConfig(ArtifactConfig):
    ...     left_out = frozenset({"tail"})
    ...     colours: tuple[str, ...]
    ...     tail: int | None = None
    >>> KiteConfig(colours=("red",)).to_json()
    {'colours': ['red']}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    left_out: ClassVar[frozenset[str]] = frozenset()
    """Keys that a manifest does not have where they are None."""

    def to_json(self) -> Json:
        """As a manifest has it."""
        found = self.model_dump(mode="json").items()
        return {key: each for key, each in found if each is not None or key not in self.left_out}

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Read it back. Raises ArtifactError, in one line, for what is not as this version writes
        it."""
        return typed(cls, artifact.config, of=artifact)


class ArtifactSummary(BaseModel):
    """What came out of making artefacts of one kind, as far as it is read again."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    def to_json(self) -> Json:
        """As a manifest has it."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Read it back. Raises ArtifactError, in one line, for what is missing or of another
        type."""
        return typed(cls, artifact.summary, of=artifact)


def typed(model: type[M], values: Mapping[str, Any], *, of: Artifact) -> M:
    """Values out of a manifest as a model; ArtifactError, naming artefact and keys, if they are not
    ones."""
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
