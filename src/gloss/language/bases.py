"""Where a pretrained model lies: a folder, or a name of the hub that stands for one.

A name is looked up where `gloss models pull` puts it, then in the hub's cache, and only where the
caller allows it on the hub itself. What has the shape of a path is a path: a folder that is not
there is an error, never a download of something else.

Knows folders and names; loads nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gloss.artifacts import MANIFEST, fingerprint_of, fingerprint_of_file
from gloss.errors import InputError
from gloss.language.hub import MODELS, cached, fetch, files_wanted
from gloss.language.weights import require_safe_names
from gloss.progress import Progress, silent

__all__ = ["Base", "find_base", "is_hub_name", "require_weights"]

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_QUANTISED = re.compile(r"(-unsloth)?-bnb-4bit$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Base:
    """A pretrained model on disk. name: the hub's, or the folder's; revision: the hub's commit."""

    folder: Path
    name: str
    revision: str | None = None

    def fingerprint(self) -> str:
        """SHA-256 of configuration and weights: the same for a folder and the name it came by."""
        files = [self.folder / "config.json", *sorted(self.folder.glob("*.safetensors"))]
        return fingerprint_of(*(part for f in files for part in (f.name, fingerprint_of_file(f))))


def is_hub_name(text: str) -> bool:
    """Whether this can only be ORG/NAME: one slash, and no folder of that first name here."""
    if text.startswith((".", "~", "/")) or not _HUB_NAME.fullmatch(text):
        return False
    return not (Path(text).exists() or Path(text).parent.is_dir())


def find_base(
    name: str,
    *,
    revision: str | None = None,
    download: bool = False,
    progress: Progress = silent,
) -> Base:
    """The model of a folder or a hub name; its files are there when this returns.

    Raises InputError, saying which files to put where, if they are not.
    """
    if not is_hub_name(name):
        folder = Path(name).expanduser()
        require_weights(folder)
        return Base(folder, folder.name, _pulled_revision(folder))
    for candidate in _names_to_try(name):
        for place in (_pulled(candidate), cached(candidate, revision)):
            if place is None or not _has_model(place):
                continue
            base = Base(place, candidate, _revision_of(place))
            if revision in (None, base.revision):
                return base
    if download:
        fetched = fetch(name, revision, progress=progress)
        require_weights(fetched)
        return Base(fetched, name, fetched.name)
    raise InputError(_missing_message(name))


def require_weights(folder: Path) -> None:
    """Raise InputError unless a folder holds a model as safetensors."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a model folder: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} has no weights as safetensors; other formats are not loaded")
    require_safe_names(folder)


def _names_to_try(name: str) -> Iterator[str]:
    """The name, and for a 4-bit copy the model that it was made of."""
    yield name
    if _QUANTISED.search(name):
        yield _QUANTISED.sub("", name)


def _pulled(name: str) -> Path | None:
    """The folder of a name among those that were pulled, whatever the case of its letters: some
    tools write it in lower case into an adapter's settings."""
    parts = name.lower().split("/")
    return next(
        (
            folder
            for folder in sorted(MODELS.glob("*/*"))
            if [folder.parent.name.lower(), folder.name.lower()] == parts
        ),
        None,
    )


def _has_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _revision_of(folder: Path) -> str | None:
    """The commit of a folder that was pulled, or of one in the hub's cache."""
    return _pulled_revision(folder) or (folder.name if folder.parent.name == "snapshots" else None)


def _pulled_revision(folder: Path) -> str | None:
    try:
        config = json.loads((folder / MANIFEST).read_bytes())["config"]
    except (OSError, ValueError, KeyError):
        return None
    revision = config.get("revision")
    return revision if isinstance(revision, str) else None


def _missing_message(name: str) -> str:
    plain = _QUANTISED.sub("", name)
    return (
        f"the base model {name} is not on this machine: fetch it with `gloss models pull {plain}`, "
        f"or {files_wanted(plain)}"
    )
