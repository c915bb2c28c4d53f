"""The manifest of an artefact: what it is, what it was made from, and the checksum of every file.

    kind, schema, gloss, libraries    what made it
    config, inputs, summary           by which settings, from which fingerprints, and what came out
    files                             name -> bytes and SHA-256
    fingerprint                       of the kind and the files: what others are bound to
    seal                              SHA-256 of all of the above: a manifest vouches for itself

The fingerprint says what an artefact holds, not how it came about. Equal content made by other
settings or from another copy of the source lets everything stand that was made of it; what a
stage reads of the configuration of its input, it names in its own.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from gloss.artifacts.files import fingerprint_of, open_regular
from gloss.errors import ArtifactError

__all__ = [
    "MANIFEST",
    "Json",
    "Listed",
    "Listing",
    "Manifest",
    "check_file",
    "content_of_manifest",
    "is_plain",
    "listed_as",
    "listing_in",
    "plain",
    "read_listing",
    "read_manifest",
    "to_json",
]

MANIFEST = "manifest.json"
SCHEMA = 2
_LIBRARIES = ("bm25s", "numpy", "polars", "tokenizers", "torch", "transformers")
_LARGEST = 1 << 26
"""Bytes of a manifest that are read at most."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

Json = dict[str, Any]

_FIELDS: Mapping[str, type] = {
    "kind": str,
    "schema": int,
    "gloss": str,
    "config": dict,
    "inputs": dict,
    "summary": dict,
    "libraries": dict,
    "files": dict,
    "fingerprint": str,
    "seal": str,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as a manifest lists it."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The kind of an artefact and the names of its files: enough to tell whose folder it is."""

    kind: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says."""

    kind: str
    config: Json
    inputs: dict[str, str]
    summary: Json
    files: Mapping[str, Listed]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the kind and of the files' names and contents."""
        seals = [text for name, each in self.files.items() for text in (name, each.sha256)]
        return fingerprint_of(self.kind, *seals)

    def to_bytes(self) -> bytes:
        """The file, sealed."""
        document = plain(
            {
                "kind": self.kind,
                "schema": SCHEMA,
                "gloss": metadata.version("gloss-rec"),
                "config": self.config,
                "inputs": self.inputs,
                "summary": self.summary,
                "libraries": _library_versions(),
                "files": {name: asdict(each) for name, each in self.files.items()},
                "fingerprint": self.fingerprint,
            }
        )
        return to_json({**document, "seal": _seal_of(document)})


def to_json(value: Any) -> bytes:
    """A JSON file for people to read; keys keep their order."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def plain(values: Mapping[str, Any]) -> Json:
    """Values as they read back from JSON (tuples become lists)."""
    read: Json = json.loads(json.dumps(dict(values)))
    return read


def is_plain(name: str) -> bool:
    """Whether a name is that of a file below its folder: relative, without ".." and hidden parts.

    >>> [is_plain(name) for name in ("a.json", "network-1/a", "../a", "/a", ".a", "a//b")]
    [True, True, False, False, False, False]
    """
    parts = name.split("/")
    return (
        name.isprintable()
        and "\\" not in name
        and name != MANIFEST
        and all(part and not part.startswith(".") for part in parts)
    )


def read_manifest(content: bytes, path: Path, kind: str) -> Manifest:
    """The manifest of the artefact at `path`, checked against its own seal.

    Raises ArtifactError if it is damaged, or of another kind or schema.
    """
    damaged = f"{path / MANIFEST} is damaged"
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{damaged}: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise ArtifactError(f"{damaged}: its content is not what was written")
    if found["kind"] != kind:
        raise ArtifactError(f"{path} is of the kind {found['kind']!r}, not {kind!r}")
    if isinstance(found.get("schema"), int) and found["schema"] != SCHEMA:
        raise ArtifactError(f"{path} has schema {found['schema']}; this version reads {SCHEMA}")
    if not _is_whole(found):
        raise ArtifactError(f"{damaged}: its content is not what was written")
    return Manifest(
        found["kind"],
        found["config"],
        found["inputs"],
        found["summary"],
        {name: Listed(**each) for name, each in found["files"].items()},
    )


def read_listing(content: bytes) -> Listing | None:
    """The kind and the file names of a manifest, of any schema and if need be damaged.

    None where it does not list files as ours do: then it is somebody else's.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return None
    files: Any = found.get("files")
    return Listing(found["kind"], frozenset(files)) if _is_list_of_files(files) else None


def listing_in(folder: Path) -> Listing | None:
    """What the manifest in a folder lists; None without one, or if it is not one of ours.

    A disk that fails is not a missing manifest: that OSError is raised.
    """
    try:
        return read_listing(content_of_manifest(folder))
    except ArtifactError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:
            raise
        return None


def content_of_manifest(folder: Path) -> bytes:
    """The bytes of the manifest in a folder; ArtifactError if it is no file, or far too large."""
    with open_regular(folder / MANIFEST) as stream:
        if os.fstat(stream.fileno()).st_size > _LARGEST:
            raise ArtifactError(f"{folder / MANIFEST} is damaged: it is larger than any of ours")
        return stream.read()


def listed_as(file: Path) -> Listed:
    """Size and checksum of a file, which is on the disk when this returns."""
    with open_regular(file) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
        return Listed(os.fstat(stream.fileno()).st_size, digest)


def check_file(folder: Path, name: str, listed: Listed) -> None:
    """Raise ArtifactError, naming the file, unless it is what is listed and lies in the folder."""
    file = folder / name
    try:
        inside = file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise ArtifactError(f"{file} is damaged: it is a link that leads out of the folder")
    try:
        stream = open_regular(file)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{file} is missing") from None
    with stream:
        size = os.fstat(stream.fileno()).st_size
        if size != listed.bytes:
            raise ArtifactError(f"{file} is damaged: {size} bytes instead of {listed.bytes}")
        if hashlib.file_digest(stream, "sha256").hexdigest() != listed.sha256:
            raise ArtifactError(f"{file} is damaged: its content is not what was written")


def _is_whole(found: Json) -> bool:
    return (
        found.keys() == _FIELDS.keys()
        and all(type(found[name]) is kind for name, kind in _FIELDS.items())
        and _is_list_of_files(found["files"])
        and all(isinstance(text, str) for text in found["inputs"].values())
        and found["seal"] == _seal_of({k: v for k, v in found.items() if k != "seal"})
        and found["fingerprint"] == _fingerprint(found["kind"], found["files"])
    )


def _is_list_of_files(files: Any) -> bool:
    return isinstance(files, dict) and all(
        is_plain(name) and _is_listed(each) for name, each in files.items()
    )


def _is_listed(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and found.keys() == {"bytes", "sha256"}
        and type(found["bytes"]) is int
        and found["bytes"] >= 0
        and isinstance(found["sha256"], str)
        and _SHA256.fullmatch(found["sha256"]) is not None
    )


def _fingerprint(kind: str, files: Mapping[str, Json]) -> str:
    return Manifest(
        kind, {}, {}, {}, {name: Listed(**each) for name, each in files.items()}
    ).fingerprint


def _seal_of(document: Json) -> str:
    """SHA-256 of a manifest without its seal, as JSON in the order of its keys."""
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
