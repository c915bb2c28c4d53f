"""Artefacts: folders that are whole or absent. The one place that writes files.

An artefact is a folder of data files and a `manifest.json`, written last. It is filled in a hidden
sibling (`.NAME.partial`) and moved into place in one rename, so a folder that stands under its own
name is whole. A draft outlives a crash: the next run with the same configuration and inputs goes on
where the last one stopped. Manifests hold no times and no paths, so equal work gives equal bytes.

This module knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from gloss.errors import ArtifactError, GlossError

__all__ = [
    "MANIFEST",
    "Artifact",
    "Draft",
    "creating",
    "fingerprint_of",
    "fingerprint_of_file",
    "is_current",
    "open_artifact",
    "write_atomic",
]

MANIFEST = "manifest.json"
SCHEMA = 1
_DRAFT_NOTE = "draft.json"
_LIBRARIES = ("bm25s", "numpy", "polars", "tokenizers", "torch", "transformers")

Json = dict[str, Any]

_MANIFEST_FIELDS: Mapping[str, type] = {
    "kind": str,
    "schema": int,
    "config": dict,
    "inputs": dict,
    "summary": dict,
    "files": dict,
    "fingerprint": str,
}

_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_NEARLY_FULL = 1 << 16


@dataclass(frozen=True, slots=True)
class Artifact:
    """A whole artefact on disk, opened and checked."""

    path: Path
    kind: str
    config: Json
    inputs: dict[str, str]
    summary: Json
    fingerprint: str

    def require_input(self, name: str, fingerprint: str, what: str) -> None:
        """Raise ArtifactError unless this artefact was made from the input with that fingerprint.

        `what` describes the expected input to the reader, such as "the data set data/toys".
        """
        made_from = self.inputs.get(name)
        if made_from != fingerprint:
            raise ArtifactError(
                f"{self.path} was made from another {name} ({_short(made_from)}) "
                f"than {what} ({_short(fingerprint)}): make it again or name the right one"
            )


@dataclass(slots=True)
class Draft:
    """An artefact in the making: fill `path`, set `summary`; whole when the block ends."""

    path: Path
    summary: Json

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file, atomically; keys keep their order."""
        write_atomic(self.path / name, _to_json(value))

    def write_lines(self, name: str, rows: list[Json]) -> None:
        """Write one JSON Lines file, atomically."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(self.path / name, text.encode())


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
    is; any other draft is emptied. Files and folders named in `scratch` (checkpoints, say) are
    removed before the artefact is sealed. Raises ArtifactError if another process is making the
    same artefact, if `path` is a file, an artefact of another kind or a folder that is none, or if
    the disk is full.
    """
    path = Path(path)
    _refuse_foreign(path, kind)
    draft = path.parent / f".{path.name}.partial"
    draft.mkdir(parents=True, exist_ok=True)
    with _locked(draft, path):
        note = _to_json({"kind": kind, "config": dict(config), "inputs": dict(inputs)})
        _keep_only_if_noted(draft, note)
        work = Draft(draft, {})
        with _disk_faults_told(path, draft):
            yield work
        for name in (*scratch, _DRAFT_NOTE):
            _remove(draft / name)
        _seal(draft, kind, config, inputs, work.summary)
        _move_into_place(draft, path)


def open_artifact(path: Path, kind: str) -> Artifact:
    """Open the artefact at `path` and check that it is whole.

    Every file's size and SHA-256 is compared with the manifest. Raises ArtifactError naming the
    file that is missing, truncated or altered, or the kind that was found instead.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    _require_kind(path, manifest, kind)
    if manifest["schema"] != SCHEMA:
        raise ArtifactError(f"{path} has schema {manifest['schema']}; this version reads {SCHEMA}")
    for name, seal in manifest["files"].items():
        _check_file(path / name, seal)
    return Artifact(
        path,
        kind,
        manifest["config"],
        manifest["inputs"],
        manifest["summary"],
        manifest["fingerprint"],
    )


def is_current(
    path: Path, *, kind: str, config: Mapping[str, Any], inputs: Mapping[str, str]
) -> bool:
    """Whether a whole artefact of this kind, configuration and inputs already stands at `path`."""
    try:
        found = open_artifact(path, kind)
    except ArtifactError:
        return False
    return found.config == _plain(config) and found.inputs == dict(inputs)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is found whole or not at all, also after a crash."""
    draft = path.with_name(f".{path.name}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ArtifactError(f"cannot write {path}: {error.strerror}") from error


def fingerprint_of(*parts: str) -> str:
    """SHA-256 of the parts, each preceded by its length so that no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def fingerprint_of_file(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _plain(config: Mapping[str, Any]) -> Json:
    """The configuration as it reads back from JSON (tuples become lists)."""
    plain: Json = json.loads(json.dumps(dict(config)))
    return plain


def _short(fingerprint: str | None) -> str:
    return fingerprint[:12] if fingerprint else "none"


def _refuse_foreign(path: Path, kind: str) -> None:
    if path.is_file():
        raise ArtifactError(f"{path} is a file; name a folder to write to")
    if not path.is_dir() or not any(path.iterdir()):
        return
    manifest = path / MANIFEST
    # Ours, damaged or not: others have files of that name too.
    if not manifest.is_file() or b'"fingerprint"' not in manifest.read_bytes():
        raise ArtifactError(f"{path} is a folder with other files in it; name a new one")
    try:
        standing = _read_manifest(path)
    except ArtifactError:
        return  # damaged: it can only be made anew
    _require_kind(path, standing, kind)


def _require_kind(path: Path, manifest: Json, kind: str) -> None:
    if manifest["kind"] != kind:
        raise ArtifactError(f"{path} is of the kind {manifest['kind']!r}, not {kind!r}")


@contextmanager
def _disk_faults_told(path: Path, draft: Path) -> Iterator[None]:
    """Libraries wrap what the disk says in errors of their own; say it as ours."""
    try:
        yield
    except GlossError:
        raise
    except Exception as error:
        reason = _disk_fault(error, draft)
        if reason is None:
            raise
        raise ArtifactError(f"cannot write {path}: {reason}") from error


def _disk_fault(error: BaseException | None, draft: Path) -> str | None:
    if shutil.disk_usage(draft).free < _NEARLY_FULL:
        return os.strerror(errno.ENOSPC)
    while error is not None:
        # Libraries in Rust put the number into the text only.
        told = re.search(r"\(os error (\d+)\)", str(error))
        number = int(told[1]) if told else getattr(error, "errno", None)
        if number in _DISK_FAULTS:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def _locked(draft: Path, path: Path) -> Iterator[None]:
    """Hold the draft for this process; the lock dies with it, however it dies."""
    handle = os.open(draft, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(f"another process is writing {path}") from None
        yield
    finally:
        os.close(handle)


def _keep_only_if_noted(draft: Path, note: bytes) -> None:
    noted = draft / _DRAFT_NOTE
    if noted.is_file() and noted.read_bytes() == note:
        return
    for child in draft.iterdir():
        _remove(child)
    write_atomic(noted, note)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _seal(
    draft: Path, kind: str, config: Mapping[str, Any], inputs: Mapping[str, str], summary: Json
) -> None:
    files = {}
    for file in sorted(p for p in draft.rglob("*") if p.is_file() and p.name != MANIFEST):
        name = file.relative_to(draft).as_posix()
        files[name] = {"bytes": file.stat().st_size, "sha256": fingerprint_of_file(file)}
    manifest = {
        "kind": kind,
        "schema": SCHEMA,
        "gloss": metadata.version("gloss-rec"),
        "config": dict(config),
        "inputs": dict(inputs),
        "summary": summary,
        "libraries": _library_versions(),
        "files": files,
        "fingerprint": _fingerprint(kind, files),
    }
    write_atomic(draft / MANIFEST, _to_json(manifest))


def _fingerprint(kind: str, files: Mapping[str, Json]) -> str:
    seals = [text for name, seal in files.items() for text in (name, str(seal["sha256"]))]
    return fingerprint_of(kind, *seals)


def _move_into_place(draft: Path, path: Path) -> None:
    if path.exists():
        old = path.parent / f".{path.name}.old"
        _remove(old)
        path.rename(old)
        draft.rename(path)
        _remove(old)
    else:
        draft.rename(path)


def _read_manifest(path: Path) -> Json:
    if not path.exists():
        raise ArtifactError(f"{path} does not exist")
    try:
        manifest: Json = json.loads((path / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{path} is not a whole artefact: it has no {MANIFEST}") from None
    except ValueError as error:
        raise ArtifactError(f"{path / MANIFEST} is damaged: {error}") from None
    if not _is_manifest(manifest):
        raise ArtifactError(f"{path / MANIFEST} is damaged: its content is not what was written")
    return manifest


def _is_manifest(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    seals = found["files"].values() if isinstance(found.get("files"), dict) else ()
    return (
        all(isinstance(found.get(name), kind) for name, kind in _MANIFEST_FIELDS.items())
        and all(isinstance(s, dict) and {"bytes", "sha256"} <= s.keys() for s in seals)
        and found["fingerprint"] == _fingerprint(found["kind"], found["files"])
    )


def _check_file(file: Path, seal: Json) -> None:
    if not file.is_file():
        raise ArtifactError(f"{file} is missing")
    size = file.stat().st_size
    if size != seal["bytes"]:
        raise ArtifactError(f"{file} is damaged: {size} bytes instead of {seal['bytes']}")
    if fingerprint_of_file(file) != seal["sha256"]:
        raise ArtifactError(f"{file} is damaged: its content is not what was written")


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
