"""Artefacts in the making: a draft that is filled, sealed, and delivered when it is whole.

A draft outlives a crash. The next run with the same configuration and inputs goes on where the last
one stopped: with what was trained, as checkpoints and finished parts stay until the manifest is
written; and a draft that was complete is only sealed and delivered (`finish_draft`).
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gloss.artifacts.delivery import (
    NOTE,
    Place,
    deliver,
    place_of,
    require_ours,
    settle,
    was_cut_off,
)
from gloss.artifacts.files import locked, remove_empty_folders, sync_folder, walk, write_atomic
from gloss.artifacts.manifest import (
    MANIFEST,
    Json,
    Listed,
    Manifest,
    is_plain,
    listed_as,
    listing_in,
    plain,
    to_json,
)
from gloss.errors import ArtifactError, GlossError

__all__ = ["Draft", "creating", "finish_draft"]

_PARTS = ".parts.jsonl"
_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_NEARLY_FULL = 1 << 16


@dataclass(frozen=True, slots=True)
class _Work:
    """What a draft is of."""

    kind: str
    config: Json
    inputs: dict[str, str]

    def is_noted(self, note: Json) -> bool:
        """Whether a draft's note is of this work."""
        return {name: note.get(name) for name in asdict(self)} == plain(asdict(self))


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
        return _content(self.path, self._scratch)

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


@contextmanager
def creating(
    path: Path,
    *,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    scratch: tuple[str, ...] = (),
) -> Iterator[Draft]:
    """Make the artefact at `path`, replacing what stood there only when the new one is whole.

    A draft left by an interrupted run with the same kind, config and inputs is handed back as it
    is; any other draft is emptied. Files and folders named in `scratch` (checkpoints, say), and
    hidden ones, do not become part of the artefact. How it will be delivered is tried first.

    Raises ArtifactError if another process is making the same artefact, if `path` is a file, an
    artefact of another kind or a folder with anything that gloss did not write, or if the disk is
    full.
    """
    work = _Work(kind, dict(config), dict(inputs))
    with _place_for(path, work) as place:
        _keep_only_if_noted(place.draft, work)
        draft = Draft(place.draft, {}, scratch, _parts_in(place.draft))
        yield draft
        complete = {"summary": draft.summary, "scratch": scratch}
        write_atomic(place.draft / NOTE, to_json({**asdict(work), "complete": complete}))
        _seal(place, work, complete)
        _deliver(place, work)


def finish_draft(
    path: Path, *, kind: str, config: Mapping[str, Any], inputs: Mapping[str, str]
) -> bool:
    """Seal and deliver what a killed run had completed of this very work; whether there was any.

    Also tidies up after a run that was killed while it put its artefact in place.
    """
    work = _Work(kind, dict(config), dict(inputs))
    if not was_cut_off(path):
        return False
    with _place_for(path, work) as place:
        note = _note_in(place.draft)
        if not work.is_noted(note) or not isinstance(note.get("complete"), dict):
            if not any(place.draft.iterdir()):
                place.draft.rmdir()
            return False
        if not (place.draft / MANIFEST).is_file():
            _seal(place, work, note["complete"])
        _deliver(place, work)
    return True


@contextmanager
def _place_for(path: Path, work: _Work) -> Iterator[Place]:
    """The place of an artefact, locked and tidy, its draft there."""
    path = Path(path)
    if not was_cut_off(path):
        require_ours(path, work.kind)
    with _disk_faults_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        place = place_of(path)
        with locked(place.lock, f"another process is writing {path}"):
            settle(place)
            require_ours(place.path, work.kind)
            _require_draft(place.draft)
            yield place


def _require_draft(draft: Path) -> None:
    """Make the draft's folder, or raise ArtifactError if somebody else's has its name."""
    draft.mkdir(exist_ok=True)
    if not (draft / NOTE).is_file() and any(draft.iterdir()):
        names = ", ".join(sorted(child.name for child in draft.iterdir())[:3])
        raise ArtifactError(f"{draft} is in the way: it holds {names}, move it away")


def _note_in(draft: Path) -> Json:
    try:
        note = json.loads((draft / NOTE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _keep_only_if_noted(draft: Path, work: _Work) -> None:
    note = _note_in(draft)
    others = [] if work.is_noted(note) else [p for p in draft.iterdir() if p.name != NOTE]
    if others:
        # A note that is of nothing, until what the old one was of is gone: neither may go on with
        # half of it.
        write_atomic(draft / NOTE, b"{}\n")
        for child in others:
            _remove(child)
    if not work.is_noted(note) or "complete" in note:
        write_atomic(draft / NOTE, to_json(asdict(work)))
    if (draft / MANIFEST).is_file():
        (draft / MANIFEST).unlink()


def _parts_in(draft: Path) -> dict[str, dict[str, Listed]]:
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


def _content(draft: Path, scratch: Iterable[str]) -> list[str]:
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


def _seal(place: Place, work: _Work, complete: Json) -> None:
    """Write the manifest of a complete draft; its files are on the disk then."""
    draft = place.draft
    files = {name: listed_as(draft / name) for name in _content(draft, complete["scratch"])}
    for known in _parts_in(draft).values():
        for name, listed in known.items():
            if name in files and files[name] != listed:
                write_atomic(draft / NOTE, to_json(asdict(work)))
                raise ArtifactError(f"{draft / name} is not what was written: repeat the command")
    for folder in {(draft / name).parent for name in files}:
        sync_folder(folder)
    manifest = Manifest(work.kind, work.config, work.inputs, complete["summary"], files)
    write_atomic(draft / MANIFEST, manifest.to_bytes())


def _deliver(place: Place, work: _Work) -> None:
    """Leave only what is sealed in the draft, and put it in its place."""
    listing = listing_in(place.draft)
    assert listing is not None
    for name in [*walk(place.draft)]:
        if name not in listing.names and name not in (MANIFEST, NOTE):
            (place.draft / name).unlink()
    for child in place.draft.iterdir():
        if child.is_dir():
            remove_empty_folders(child)
    deliver(place, work.kind)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _disk_faults_named(path: Path) -> Iterator[None]:
    """Libraries wrap what the disk says in errors of their own; say it as ours."""
    try:
        yield
    except GlossError:
        raise
    except Exception as error:
        reason = _disk_fault(error, path)
        if reason is None:
            raise
        raise ArtifactError(f"cannot write {path}: {reason}") from error


def _disk_fault(error: BaseException | None, path: Path) -> str | None:
    here = path if path.is_dir() else path.parent
    if here.is_dir() and shutil.disk_usage(here).free < _NEARLY_FULL:
        return os.strerror(errno.ENOSPC)
    while error is not None:
        # Libraries in Rust put the number into the text only.
        in_text = re.search(r"\(os error (\d+)\)", str(error))
        number = int(in_text[1]) if in_text else getattr(error, "errno", None)
        if number in _DISK_FAULTS:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None
