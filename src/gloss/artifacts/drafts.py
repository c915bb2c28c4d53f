"""Drafts: the folders that artefacts are made in, and which parts of the work are done there.

Knows files; knows nothing of how a draft gets to its place (making.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gloss.artifacts.files import walk, write_atomic
from gloss.artifacts.manifest import Json, Listed, is_plain, listed_as, to_json
from gloss.errors import ArtifactError

__all__ = ["Draft", "content_of_draft", "parts_of_draft"]

_PARTS = ".parts.jsonl"


@dataclass(slots=True)
class Draft:
    """An artefact in the making: fill `path`, set `summary`; whole when the block ends."""

    path: Path
    summary: Json
    _scratch: tuple[str, ...] = ()
    _parts: dict[str, dict[str, Listed]] = field(default_factory=dict)

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file, atomically; keys keep their order."""
        write_atomic(self.path / name, to_json(value))

    def write_lines(self, name: str, rows: list[Json]) -> None:
        """Write one JSON Lines file, atomically."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(self.path / name, text.encode())

    def names(self) -> list[str]:
        """The files that will be part of the artefact, of those that are there, sorted."""
        return content_of_draft(self.path, self._scratch)

    def finish(self, part: str, names: Iterable[str]) -> None:
        """Record that a part of the work is done, with the checksums of its files."""
        files = {name: listed_as(self.path / name) for name in names}
        self._parts[part] = files
        row = {"part": part, "files": {name: asdict(each) for name, each in files.items()}}
        with (self.path / _PARTS).open("ab") as file:
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def is_finished(self, part: str) -> bool:
        """Whether an earlier try has finished a part whose files still are what was written."""
        files = self._parts.get(part)
        if files is None:
            return False
        try:
            whole = all(listed_as(self.path / name) == each for name, each in files.items())
        except (OSError, ArtifactError):
            whole = False
        if not whole:
            del self._parts[part]
        return whole


def parts_of_draft(draft: Path) -> dict[str, dict[str, Listed]]:
    """The parts that earlier tries have recorded; of one that stands there twice, the last."""
    parts: dict[str, dict[str, Listed]] = {}
    try:
        lines = (draft / _PARTS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return parts
    for line in lines:
        try:
            row = json.loads(line)
            parts[row["part"]] = {name: Listed(**each) for name, each in row["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # torn by a kill: the part is done again
    return parts


def content_of_draft(draft: Path, scratch: Iterable[str]) -> list[str]:
    """The names of a draft's files that are part of the artefact, sorted."""
    left_out = {name.split("/")[0] for name in scratch}
    return sorted(
        name
        for name in walk(draft)
        if name.split("/")[0] not in left_out
        and is_plain(name)
        and (draft / name).is_file()
        and not (draft / name).is_symlink()
    )
