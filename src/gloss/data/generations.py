"""What a language model wrote for each user: types, our artefact, the research repository's file.

Needs no torch: ranking and evaluation read generations on machines that could not make them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import field_serializer

from gloss.artifacts import Artifact, ArtifactConfig, read_artifact
from gloss.choices import SplitName, TitleStyle
from gloss.config import Decoding, Loading
from gloss.data.catalogue import ItemId
from gloss.data.histories import UserId
from gloss.errors import InputError

__all__ = [
    "KIND",
    "SHARDS",
    "Generation",
    "GenerationsConfig",
    "Query",
    "read_generations",
    "read_research_file",
    "to_row",
]

KIND = "generations"
SHARDS = "part-*.jsonl"
RESEARCH_MARKER = "Title: "


class GenerationsConfig(Decoding, ArtifactConfig):
    """How titles were generated: for whom, in which style, and how the model decoded.

    loading: how the model was loaded, where that was not as it is.
    """

    omitted_if_none = frozenset({"loading"})

    split: SplitName
    titles: TitleStyle
    limit_users: int | None
    loading: Loading | None = None

    @field_serializer("loading")
    def _wherever_its_base_lies(self, loading: Loading | None) -> dict[str, Any] | None:
        return None if loading is None else loading.model_dump(mode="json", exclude={"base"})


@dataclass(frozen=True, slots=True)
class Query:
    """A generated title. beam: 0 is the likeliest; logprob: natural logarithm, None if unknown."""

    text: str
    beam: int
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """What was written for a user whose purchases were `history`; queries in beam order."""

    user: UserId
    history: tuple[ItemId, ...]
    queries: tuple[Query, ...]


def read_generations(path: Path) -> tuple[Generation, ...]:
    """Generations from our artefact (a folder) or from the research repository's JSON (a file).

    Raises InputError or ArtifactError naming what is missing or malformed.
    """
    path = Path(path)
    if path.is_file():
        return read_research_file(path)
    return read_artifact(path, KIND, _read_shards)


def read_research_file(path: Path) -> tuple[Generation, ...]:
    """Read what the GLoSS research repository writes: a JSON list, or `.jsonl`, one user a line.

    Each entry has `reviewer_id`, `asin` (the target), `seen_asins` and `generated_sequences`, each
    sequence reading "Title: …"; the marker is removed and beams carry no probability. Whatever else
    an entry holds (metrics, say) is left alone.
    """
    return tuple(_from_research(entry, f"{path}, {place}") for place, entry in _entries(path))


def to_row(generation: Generation) -> dict[str, Any]:
    """One line of a shard."""
    return {
        "user": generation.user,
        "history": list(generation.history),
        "titles": [query.text for query in generation.queries],
        "logprobs": [query.logprob for query in generation.queries],
    }


def _read_shards(artifact: Artifact) -> tuple[Generation, ...]:
    return tuple(_read_lines(map(artifact.file, artifact.matching(SHARDS))))


def _read_lines(shards: Iterable[Path]) -> Iterator[Generation]:
    for shard in shards:
        with shard.open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                queries = tuple(
                    Query(text, beam, logprob)
                    for beam, (text, logprob) in enumerate(
                        zip(row["titles"], row["logprobs"], strict=True)
                    )
                )
                yield Generation(row["user"], tuple(row["history"]), queries)


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Each entry of a research file, and where it stands."""
    if path.suffix == ".jsonl":
        # Not str.splitlines: titles may hold U+2028, which JSON does not escape.
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"line {number}", _parsed(line, f"{path}, line {number}")
        return
    entries = _parsed(path.read_bytes(), str(path))
    if not isinstance(entries, list):
        raise InputError(
            f"{path} is not the research repository's list of generations; one object a line is "
            "read from a file named .jsonl"
        )
    yield from ((f"entry {number}", entry) for number, entry in enumerate(entries, 1))


def _parsed(text: bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from None


def _from_research(entry: Any, where: str) -> Generation:
    fields = entry if isinstance(entry, dict) else {}
    user = fields.get("reviewer_id")
    seen, texts = fields.get("seen_asins"), fields.get("generated_sequences")
    if not (isinstance(user, str) and _are_texts(seen) and _are_texts(texts)):
        raise InputError(
            f"{where}: expected reviewer_id (a text), seen_asins and generated_sequences (lists "
            "of texts)"
        )
    queries = tuple(Query(_without_marker(text), beam) for beam, text in enumerate(texts))
    return Generation(UserId(user), tuple(map(ItemId, seen)), queries)


def _are_texts(found: Any) -> TypeGuard[list[str]]:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _without_marker(text: str) -> str:
    return text.strip().removeprefix(RESEARCH_MARKER.strip()).strip()
