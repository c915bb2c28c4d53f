"""What a language model wrote for each user: types, our artefact, the research repository's file.

Needs no torch: ranking and evaluation read generations on machines that could not make them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import field_serializer

from gloss.artifacts import Artifact, ArtifactConfig, read_artifact
from gloss.choices import SplitName, TitleStyle
from gloss.config import Decoding, Loading
from gloss.data.catalogue import ItemId
from gloss.data.histories import UserId
from gloss.data.readers.ids import canonical_id
from gloss.data.readers.lines import BadLine, input_errors, repair_text
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

_ROUNDING = 0.1
"""A log-probability is 0 at most; sums of float32 are off by less than this."""


class GenerationsConfig(Decoding, ArtifactConfig):
    """How titles were generated: for whom, in which style, and how the model decoded.

    loading: how the model was loaded, where that was not as it is. served: its name at the server
    that wrote the titles, where one did.
    """

    omitted_if_none = frozenset({"loading", "served"})

    split: SplitName
    titles: TitleStyle
    limit_users: int | None
    loading: Loading | None = None
    served: str | None = None

    @field_serializer("loading")
    def _wherever_its_base_lies(self, loading: Loading | None) -> dict[str, Any] | None:
        if loading is None:
            return None
        # Our own search is not named, as before there was another.
        unnamed = {"base", "engine"} if loading.engine == "gloss" else {"base"}
        return loading.model_dump(mode="json", exclude=unnamed)


@dataclass(frozen=True, slots=True)
class Query:
    """A generated title. beam: 0 is the likeliest; logprob: natural logarithm, None if unknown."""

    text: str
    beam: int
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """What was written for a user whose purchases were `history`; queries in beam order.

    target: what was bought next, where the file says so (the research repository's does).
    """

    user: UserId
    history: tuple[ItemId, ...]
    queries: tuple[Query, ...]
    target: ItemId | None = None


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

    Each entry has `reviewer_id`, `asin` (the target, which may be missing), `seen_asins` and
    `generated_sequences`, each sequence reading "Title: …"; the marker is removed and beams carry
    no probability. Ids are values, as in tables: 7 is "7". Half a character in a text becomes
    U+FFFD; null counts as nothing written. Whatever else an entry holds (metrics, say) is left
    alone.

    Raises InputError naming the entry that is malformed, or whose user stands in the file before.
    """
    first: dict[UserId, str] = {}
    generations = []
    for place, entry in _entries(path):
        generation = _from_research(entry, f"{path}, {place}")
        if generation.user in first:
            raise InputError(
                f"{path}, {place}: user {generation.user} stands in {first[generation.user]} "
                "already: keep one of the two"
            )
        first[generation.user] = place
        generations.append(generation)
    return tuple(generations)


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
            for number, line in enumerate(lines, 1):
                yield _from_row(json.loads(line), f"{shard.name}, line {number}")


def _from_row(row: Any, where: str) -> Generation:
    """What `to_row` made; ValueError for anything else."""
    fields: dict[str, Any] = row if isinstance(row, dict) else {}
    user: Any = fields.get("user")
    history: Any = fields.get("history")
    titles: Any = fields.get("titles")
    logprobs: Any = fields.get("logprobs")
    if not (isinstance(user, str) and _is_list_of_texts(history) and _is_list_of_texts(titles)):
        raise ValueError(f"{where}: expected a user, and a history and titles that are texts")
    if not (isinstance(logprobs, list) and all(map(_is_logprob, logprobs))):
        raise ValueError(f"{where}: a log-probability is none")
    queries = tuple(
        Query(_encodable(text), beam, logprob)
        for beam, (text, logprob) in enumerate(zip(titles, logprobs, strict=True))
    )
    return Generation(UserId(user), tuple(map(ItemId, history)), queries)


def _is_list_of_texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _is_logprob(found: Any) -> bool:
    return found is None or (type(found) is float and -math.inf < found < _ROUNDING)


def _encodable(text: str) -> str:
    """The text; UnicodeEncodeError, which is a ValueError, for half a surrogate."""
    text.encode()
    return text


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Each entry of a research file, and where it stands."""
    if path.suffix == ".jsonl":
        # Not str.splitlines: titles may hold U+2028, which JSON does not escape.
        for number, line in enumerate(_content(path).split(b"\n"), 1):
            if line.strip():
                yield f"line {number}", _parsed(line, f"{path}, line {number}")
        return
    entries = _parsed(_content(path), str(path))
    if not isinstance(entries, list):
        raise InputError(
            f"{path} is not the research repository's list of generations; one object a line is "
            "read from a file named .jsonl"
        )
    yield from ((f"entry {number}", entry) for number, entry in enumerate(entries, 1))


def _content(path: Path) -> bytes:
    with input_errors(path):
        return path.read_bytes()


def _parsed(text: bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from None


def _from_research(entry: Any, where: str) -> Generation:
    fields = entry if isinstance(entry, dict) else {}
    seen, texts = fields.get("seen_asins"), fields.get("generated_sequences")
    if not (isinstance(seen, list) and isinstance(texts, list | None) and _are_texts(texts or [])):
        raise InputError(
            f"{where}: expected reviewer_id (an id), seen_asins (a list of ids) and "
            "generated_sequences (a list of texts)"
        )
    queries = tuple(
        Query(_without_marker(repair_text(text or "")), beam)
        for beam, text in enumerate(texts or [])
    )
    try:
        user = UserId(canonical_id(fields.get("reviewer_id"), "reviewer_id"))
        history = tuple(ItemId(canonical_id(item, "seen_asins")) for item in seen)
        target = fields.get("asin")
        bought = None if target is None else ItemId(canonical_id(target, "asin"))
    except BadLine as reason:
        raise InputError(f"{where}: {reason}") from None
    return Generation(user, history, queries, bought)


def _are_texts(found: list[Any]) -> bool:
    return all(text is None or isinstance(text, str) for text in found)


def _without_marker(text: str) -> str:
    return text.strip().removeprefix(RESEARCH_MARKER.strip()).strip()
