"""How an artefact gets to its place, and how a killed delivery is finished.

An artefact is made in a draft and delivered when it is whole. The draft lies beside its folder
(`.NAME.partial`), and both change places in one step. Where the folder cannot be renamed over (a
mount point, a parent that may not be written, the folder that this process works in) the draft lies
in it (`NAME/.gloss.partial`) and is delivered file by file, the manifest last. A replacement is a
matter of steps that can be told apart afterwards:

    draft with a note                 work in progress; the note says what of
    draft without one                 the version that was replaced, on its way out
    draft with .delivering            files are being moved; that file holds the old manifest
    .NAME.old                         the old version, where folders cannot change places at once

Only what a manifest lists is ever removed, and only a folder that holds nothing else is replaced.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

from gloss.artifacts.files import (
    exchange,
    locked,
    remove_empty_folders,
    sync_folder,
    walk,
    write_atomic,
)
from gloss.artifacts.manifest import MANIFEST, content_of_manifest, listing_in, read_listing
from gloss.errors import ArtifactError, BeingReplacedError

__all__ = [
    "NOTE",
    "Place",
    "deliver",
    "draft_of",
    "place_of",
    "recover",
    "require_deliverable",
    "require_ours",
    "set_aside",
    "settle",
    "was_cut_off",
]

NOTE = ".draft.json"
"""What a draft is of, and whether it is complete; it lies in the draft."""

_DELIVERING = ".delivering"
_OURS = ".gloss."
"""How the names begin of what lies in a folder that cannot be renamed over, besides its files."""
_CANNOT_BE_RENAMED = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EROFS)
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where an artefact is to stand, and what lies about while it is made. path: no link."""

    path: Path
    draft: Path
    lock: Path
    old: Path
    damaged: Path
    moves: bool
    """Whether the folder can be replaced as a whole."""

    @property
    def traces(self) -> tuple[Path, ...]:
        """What is gone again when the work is done."""
        return self.draft, self.lock, self.old

    @classmethod
    def beside(cls, path: Path) -> Place:
        """Where everything lies in the parent."""
        return cls._near(path, path.parent / f".{path.name}.", moves=True)

    @classmethod
    def inside(cls, path: Path) -> Place:
        """Where everything lies in the folder itself."""
        return cls._near(path, path / _OURS, moves=False)

    @classmethod
    def _near(cls, path: Path, start: Path, *, moves: bool) -> Place:
        draft, lock, old, damaged = (
            start.with_name(start.name + end) for end in ("partial", "lock", "old", "damaged")
        )
        return cls(path, draft, lock, old, damaged, moves)


def place_of(path: Path) -> Place:
    """How an artefact will get to `path`, tried rather than guessed.

    A symbolic link is followed and stays. A draft that is there already says where the work goes
    on.
    """
    path = _without_links(path)
    beside, inside = Place.beside(path), Place.inside(path)
    if inside.draft.is_dir():
        return inside
    if not path.exists():
        return beside
    if _is_worked_in(path):
        goes_on = beside.draft.is_dir() and path.stat().st_dev == path.parent.stat().st_dev
        return replace(beside, moves=False) if goes_on else inside
    return beside if _can_be_renamed_over(path) else inside


def draft_of(path: Path) -> Path:
    """Where the draft of an artefact lies, or will lie: for processes that help to make it."""
    return place_of(path).draft


def require_ours(path: Path, kind: str) -> None:
    """Raise ArtifactError unless `path` is free, or an artefact of this kind and nothing else.

    Damaged or not: what counts is that its manifest lists all that lies there.
    """
    if path.is_file():
        raise ArtifactError(f"{path} is a file; name a folder to write to")
    if not path.is_dir():
        return
    listing = listing_in(path)
    if listing is not None and listing.kind != kind:
        raise ArtifactError(f"{path} is of the kind {listing.kind!r}, not {kind!r}")
    known = listing.names | {MANIFEST} if listing else frozenset[str]()
    foreign = [name for name in walk(path) if name not in known and not _is_own(name)]
    if not foreign:
        return
    if listing is None:
        raise ArtifactError(
            f"{path} is a folder with other files in it; name a new one ({_some(foreign)})"
        )
    raise ArtifactError(
        f"{path} holds what gloss did not write: move it away or name another folder "
        f"({_some(foreign)})"
    )


def require_deliverable(path: Path, kind: str) -> None:
    """Raise ArtifactError, before any work is done, if its artefact could not be put at `path`."""
    if was_cut_off(path):
        return  # what lies there is for `settle` to say
    require_ours(path, kind)
    place = place_of(path)
    there = next(each for each in (place.path, *place.path.absolute().parents) if each.exists())
    if place.moves and not place.path.exists() and not os.access(there, os.W_OK | os.X_OK):
        raise ArtifactError(f"cannot write {path}: nothing may be written to {there}")


def deliver(place: Place, kind: str) -> None:
    """Put a whole draft into its place; what stood there goes, if it is ours."""
    require_ours(place.path, kind)
    sync_folder(place.draft)
    if place.moves:
        try:
            _replace(place)
        except OSError as error:
            if error.errno not in _CANNOT_BE_RENAMED or not (place.draft / NOTE).is_file():
                raise
        else:
            sync_folder(place.path.parent)
            return
    _move_files(place)
    sync_folder(place.path)


def was_cut_off(path: Path) -> bool:
    """Whether a process left something behind, or is at work, that makes or replaces `path`."""
    path = _without_links(path)
    beside, inside = Place.beside(path), Place.inside(path)
    left = (path / NOTE, _trial_of(path), *(p for each in (beside, inside) for p in each.traces))
    return any(each.exists() for each in left)


def settle(place: Place) -> None:
    """Finish what a killed process had begun to put in place, or undo it; the caller has the lock.

    Drafts that are unfinished work stay.
    """
    path, draft = place.path, place.draft
    if (draft / _DELIVERING).is_file():
        _move_files(place)
    if listing_in(place.old) is not None:
        if (path / MANIFEST).is_file():
            _discard(place.old)
        elif not path.is_dir() or not any(path.iterdir()):
            place.old.rename(path)
    if (path / MANIFEST).is_file():
        (path / NOTE).unlink(missing_ok=True)
    if draft.is_dir() and not (draft / NOTE).is_file():
        _discard(draft)


def recover(path: Path) -> None:
    """Let a reader find a version at `path` where a replacement was cut off.

    Raises BeingReplacedError while somebody is at it.
    """
    if (path / MANIFEST).is_file() or not was_cut_off(path):
        return
    where = _without_links(path)
    for place in (Place.inside(where), Place.beside(where)):
        if (place.draft / _DELIVERING).is_file() or listing_in(place.old) is not None:
            try:
                with locked(place.lock, f"{path} is being replaced: try again"):
                    settle(place)
            except ArtifactError as error:
                raise BeingReplacedError(str(error)) from None
            except PermissionError:
                raise ArtifactError(
                    f"{path} was cut off while it was replaced: repeat the command that made it"
                ) from None


def set_aside(path: Path, kind: str) -> Path:
    """Move what stands at `path`, of this kind, to a hidden name near it; returns where it is."""
    require_ours(path, kind)
    place = place_of(path)
    names = (place.damaged.with_name(f"{place.damaged.name}{n or ''}") for n in count())
    aside = next(each for each in names if not (each / MANIFEST).is_file())
    with locked(place.lock, f"another process is writing {path}"):
        if place.moves:
            place.path.rename(aside)
            return aside
        aside.mkdir(exist_ok=True)
        listing = listing_in(place.path)
        assert listing is not None
        # The manifest last: until then it is still known whose files these are.
        for name in (*sorted(listing.names), MANIFEST):
            _move(place.path / name, aside / name)
    return aside


def _without_links(path: Path) -> Path:
    if not path.is_symlink() and path.name not in ("", ".."):
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        raise ArtifactError(f"{path} is a link that leads nowhere") from None


def _is_worked_in(path: Path) -> bool:
    """Whether this process, and so the shell that started it, is in the folder or below."""
    try:
        return Path.cwd().is_relative_to(path.resolve())
    except FileNotFoundError:
        return False


def _can_be_renamed_over(path: Path) -> bool:
    """Whether the system lets a folder take another one's place here: an empty one tries."""
    trial = _trial_of(path)
    try:
        trial.mkdir(exist_ok=True)
    except OSError:
        return False
    try:
        shutil.copymode(path, trial)
        trial.rename(path)
    except FileNotFoundError:
        return _can_be_renamed_over(path)  # somebody else tried at the same time
    except OSError as error:
        with suppress(FileNotFoundError):
            trial.rmdir()
        return error.errno in (errno.ENOTEMPTY, errno.EEXIST)
    return True  # an empty folder was there, and is there again


def _trial_of(path: Path) -> Path:
    return path.parent / f".{path.name}.trial"


def _is_own(name: str) -> bool:
    return name == NOTE or name.startswith(_OURS)


def _some(names: Collection[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(islice(sorted(names), _NAMED)) + (f" and {more} more" if more > 0 else "")


def _replace(place: Place) -> None:
    """Let draft and folder change places at once, or in two steps where the system cannot."""
    path, draft = place.path, place.draft
    if path.is_dir():
        shutil.copymode(path, draft)
    if not path.is_dir() or not any(path.iterdir()):
        draft.rename(path)
        gone = None
    elif exchange(draft, path):
        gone = draft
    else:
        path.rename(place.old)
        draft.rename(path)
        gone = place.old
    (path / NOTE).unlink(missing_ok=True)
    if gone is not None:
        _discard(gone)


def _move_files(place: Place) -> None:
    """Deliver file by file. Begun again after a kill, it goes on: the old manifest is kept in the
    draft until the new one stands."""
    path, draft, begun = place.path, place.draft, place.draft / _DELIVERING
    if not begun.is_file():
        standing = (path / MANIFEST).is_file()
        write_atomic(begun, content_of_manifest(path) if standing else b"")
    new = listing_in(draft)
    if new is not None:
        (path / MANIFEST).unlink(missing_ok=True)
        old = read_listing(begun.read_bytes())
        _remove(path, old.names - new.names if old else ())
        for name in (*sorted(new.names), MANIFEST):
            _move(draft / name, path / name)
    (draft / NOTE).unlink(missing_ok=True)
    begun.unlink()
    _discard(draft)


def _move(file: Path, to: Path) -> None:
    if file.is_file() or file.is_symlink():
        to.parent.mkdir(parents=True, exist_ok=True)
        file.replace(to)


def _remove(folder: Path, names: Collection[str]) -> None:
    """Remove files below a folder, and the folders that they leave empty."""
    # Walking meets no file that is reached through a link to elsewhere.
    gone = [name for name in walk(folder) if name in names]
    for name in gone:
        (folder / name).unlink()
    for parent in {Path(name).parts[0] for name in gone if "/" in name}:
        remove_empty_folders(folder / parent)


def _discard(folder: Path) -> None:
    """Remove an artefact's files, which its manifest lists, and what is empty then; nothing else.

    The manifest goes last, so that a kill on the way leaves what can be told to be ours.
    """
    listing = listing_in(folder)
    if listing is not None:
        _remove(folder, listing.names)
        (folder / MANIFEST).unlink()
    for name in (f".{NOTE}.tmp", f"{_OURS}lock"):
        (folder / name).unlink(missing_ok=True)
    remove_empty_folders(folder)
