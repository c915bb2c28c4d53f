"""Artefacts in the making: a recipe, and the draft that is filled by it, sealed and delivered.

A draft outlives a crash. The next run by the same recipe goes on where the last one stopped: with
what was trained, as checkpoints and finished parts stay until the manifest is written; and a draft
that was complete is only sealed and delivered (`Recipe.finish`).
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gloss.artifacts.delivery import (
    NOTE,
    Place,
    deliver,
    place_of,
    require_deliverable,
    require_ours,
    set_aside,
    settle,
    was_cut_off,
)
from gloss.artifacts.drafts import Draft, content_of_draft, parts_of_draft
from gloss.artifacts.files import locked, remove_empty_folders, sync_folder, walk, write_atomic
from gloss.artifacts.manifest import (
    MANIFEST,
    Json,
    Manifest,
    listed_as,
    listing_in,
    plain,
    to_json,
)
from gloss.artifacts.reading import Artifact, open_artifact
from gloss.errors import ArtifactError, BeingReplacedError, GlossError

__all__ = ["Recipe"]

_log = logging.getLogger(__name__)

_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_NEARLY_FULL = 1 << 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an artefact is made by: equal recipes make equal artefacts.

    config: its settings, as JSON has them. inputs: the fingerprints of what it is made from, by the
    role that each has.
    """

    kind: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]

    def make(
        self,
        out: Path,
        fill: Callable[[Draft], object],
        *,
        scratch: tuple[str, ...] = (),
        is_work: bool = False,
    ) -> Artifact:
        """The artefact at `out`: what stands there by this recipe, or else what `fill` makes.

        A draft that a killed run had completed is only put in its place. A damaged artefact is made
        again, and the log says so; one that `is_work` (trained, or written by a model for hours) is
        kept under a hidden name first. scratch: see `draft`.
        """
        return self.make_from(out, lambda: fill, scratch=scratch, is_work=is_work)

    def make_from(
        self,
        out: Path,
        begin: Callable[[], Callable[[Draft], object]],
        *,
        scratch: tuple[str, ...] = (),
        is_work: bool = False,
    ) -> Artifact:
        """The same for work that loads much first: `begin` loads it, and returns what fills.

        It is called if the artefact has to be made and can be put at `out`. A draft of another
        recipe goes after it, so that what fails to load costs nobody's work.
        """
        standing, damage = self._look(out)
        if standing:
            return standing
        fill = begin()
        if damage:
            _tell_of_damage(out, self.kind, damage, is_work=is_work)
        with self.draft(out, scratch=scratch) as draft:
            fill(draft)
        return open_artifact(out, self.kind)

    def find_current(self, path: Path) -> Artifact | None:
        """The whole artefact at `path` if it is by this recipe; None otherwise. Changes nothing.

        Raises BeingReplacedError while somebody else replaces it.
        """
        try:
            found = open_artifact(path, self.kind)
        except BeingReplacedError:
            raise
        except ArtifactError:
            return None
        return found if self._made(found) else None

    @contextmanager
    def draft(self, out: Path, *, scratch: tuple[str, ...] = ()) -> Iterator[Draft]:
        """Make the artefact at `out` anew: the block fills its draft.

        What stood there is replaced only when the new one is whole. A draft left by an interrupted
        run of the same recipe is handed back as it is; any other draft is emptied. Files and
        folders named in `scratch` (checkpoints, say), and hidden ones, do not become part of the
        artefact. How it will be delivered is tried first.

        Raises ArtifactError if another process is making the same artefact, if `out` is a file, an
        artefact of another kind or a folder with anything that gloss did not write, or if the disk
        is full.
        """
        with _place_for(out, self.kind) as place:
            _keep_only_if_noted(place.draft, self)
            draft = Draft(place.draft, {}, scratch, parts_of_draft(place.draft))
            try:
                yield draft
            except BaseException:
                _drop_if_untouched(place.draft)
                raise
            complete = {"summary": draft.summary, "scratch": scratch}
            write_atomic(place.draft / NOTE, to_json({**self.note, "complete": complete}))
            _seal(place, self, complete)
            _deliver(place, self.kind)

    def finish(self, out: Path) -> bool:
        """Seal and deliver what a killed run had completed by this recipe; whether there was any.

        Also tidies up after a run that was killed while it put its artefact in place.
        """
        if not was_cut_off(out):
            return False
        with _place_for(out, self.kind) as place:
            note = _note_in(place.draft)
            if not self.is_noted_in(note) or not isinstance(note.get("complete"), dict):
                if not any(place.draft.iterdir()):
                    place.draft.rmdir()
                return False
            if not (place.draft / MANIFEST).is_file():
                _seal(place, self, note["complete"])
            _deliver(place, self.kind)
        return True

    def _look(self, out: Path) -> tuple[Artifact | None, ArtifactError | None]:
        """What stands at `out` by this recipe; or else what is wrong with what stands there."""
        self.finish(out)
        damage: ArtifactError | None = None
        try:
            found = open_artifact(out, self.kind)
        except BeingReplacedError:
            raise
        except ArtifactError as error:
            damage = error
        else:
            if self._made(found):
                return found, None
        require_deliverable(out, self.kind)
        return None, damage

    def _made(self, artifact: Artifact) -> bool:
        return artifact.is_of(self.config, self.inputs)

    @property
    def note(self) -> Json:
        """What is noted in a draft: what it is of."""
        return {"kind": self.kind, "config": dict(self.config), "inputs": dict(self.inputs)}

    def is_noted_in(self, note: Json) -> bool:
        """Whether a draft's note is of this recipe."""
        return {name: note.get(name) for name in self.note} == plain(self.note)


def _tell_of_damage(out: Path, kind: str, damage: ArtifactError, *, is_work: bool) -> None:
    listing = listing_in(Path(out))
    if listing is None or listing.kind != kind:
        return  # nothing of ours is there
    kept = f", and kept as {set_aside(out, kind)}" if is_work else ""
    _log.warning("%s: it is made again%s", damage, kept)


@contextmanager
def _place_for(path: Path, kind: str) -> Iterator[Place]:
    """The place of an artefact, locked and tidy, its draft there."""
    path = Path(path)
    if not was_cut_off(path):
        require_ours(path, kind)
    with _disk_faults_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        place = place_of(path)
        with locked(place.lock, f"another process is writing {path}"):
            settle(place)
            require_ours(place.path, kind)
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


def _keep_only_if_noted(draft: Path, recipe: Recipe) -> None:
    note = _note_in(draft)
    others = [] if recipe.is_noted_in(note) else [p for p in draft.iterdir() if p.name != NOTE]
    if others:
        # A note that is of nothing, until what the old one was of is gone: neither may go on with
        # half of it.
        write_atomic(draft / NOTE, b"{}\n")
        for child in others:
            _remove(child)
    if not recipe.is_noted_in(note) or "complete" in note:
        write_atomic(draft / NOTE, to_json(recipe.note))
    if (draft / MANIFEST).is_file():
        (draft / MANIFEST).unlink()


def _drop_if_untouched(draft: Path) -> None:
    """Leave no trace of work that failed before there was any: a draft that holds its note only."""
    if [child.name for child in draft.iterdir()] == [NOTE]:
        (draft / NOTE).unlink()
        draft.rmdir()


def _seal(place: Place, recipe: Recipe, complete: Json) -> None:
    """Write the manifest of a complete draft; its files are on the disk then."""
    draft = place.draft
    files = {name: listed_as(draft / name) for name in content_of_draft(draft, complete["scratch"])}
    for known in parts_of_draft(draft).values():
        for name, listed in known.items():
            if name in files and files[name] != listed:
                write_atomic(draft / NOTE, to_json(recipe.note))
                raise ArtifactError(f"{draft / name} is not what was written: repeat the command")
    for folder in {(draft / name).parent for name in files}:
        sync_folder(folder)
    manifest = Manifest(**recipe.note, summary=complete["summary"], files=files)
    write_atomic(draft / MANIFEST, manifest.to_bytes())


def _deliver(place: Place, kind: str) -> None:
    """Leave only what is sealed in the draft, and put it in its place."""
    listing = listing_in(place.draft)
    assert listing is not None
    for name in [*walk(place.draft)]:
        if name not in listing.names and name not in (MANIFEST, NOTE):
            (place.draft / name).unlink()
    for child in place.draft.iterdir():
        if child.is_dir():
            remove_empty_folders(child)
    deliver(place, kind)


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
