"""Artefacts that are there: opened, checked, and read as one version.

Other processes may replace an artefact at any moment. Every version has a manifest of its own,
written last and moved into place with its files, so what was read between two looks at the same
manifest is of one version (`Artifact.reading`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from gloss.artifacts.delivery import recover
from gloss.artifacts.manifest import (
    MANIFEST,
    Json,
    Listed,
    check_file,
    content_of_manifest,
    plain,
    read_manifest,
)
from gloss.errors import (
    ArtifactError,
    BeingReplacedError,
    GlossError,
    is_out_of_memory,
    is_panic,
    reason_of,
)

__all__ = ["Artifact", "open_artifact", "read_artifact"]

_T = TypeVar("_T")

_ATTEMPTS = 5
_FIRST_WAIT = 0.02
"""Seconds before the second attempt; each further one waits twice as long."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A whole artefact on disk, opened and checked. files: all that belongs to it, by name."""

    path: Path
    kind: str
    config: Json
    inputs: dict[str, str]
    summary: Json
    fingerprint: str
    files: Mapping[str, Listed] = field(repr=False)
    _version: tuple[int, bytes] = field(repr=False, compare=False)

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

    def file(self, name: str) -> Path:
        """Where a file of the artefact lies; ArtifactError for one that the manifest does not
        list, whether or not it is there."""
        if name not in self.files:
            raise ArtifactError(f"{self.path} has no {name}: its manifest does not list it")
        return self.path / name

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The names of its files that match a pattern ("part-*.jsonl"), sorted."""
        return tuple(sorted(name for name in self.files if fnmatchcase(name, pattern)))

    def is_of(self, config: Mapping[str, Any], inputs: Mapping[str, str]) -> bool:
        """Whether it was made by these settings from these inputs."""
        return self.config == plain(config) and self.inputs == dict(inputs)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read in the block is of the version that was opened.

        Raises BeingReplacedError, also in place of any other error, if it is not. What a reader
        raises over content that it cannot take is an ArtifactError: files are what was written,
        but what was written is no artefact of ours.
        """
        replaced = f"{self.path} was replaced while it was read: try again"
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            if not self._still_stands():
                raise BeingReplacedError(replaced) from error
            if isinstance(error, GlossError | OSError) or is_out_of_memory(error):
                raise
            raise ArtifactError(
                f"{self.path} holds what cannot be read: {reason_of(error)}"
            ) from error
        if not self._still_stands():
            raise BeingReplacedError(replaced)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The folder for libraries that look around in it: with nothing that is not listed.

        Where somebody has put other files into it, a temporary folder of links to its own.
        """
        found = (each.relative_to(self.path).as_posix() for each in self.path.rglob("*"))
        if all(name in self.files or name == MANIFEST or self._leads_to(name) for name in found):
            yield self.path
            return
        with TemporaryDirectory(prefix="gloss-") as bare:
            for name in self.files:
                link = Path(bare) / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((self.path / name).resolve())
            yield Path(bare)

    def _leads_to(self, folder: str) -> bool:
        return any(name.startswith(f"{folder}/") for name in self.files)

    def _still_stands(self) -> bool:
        try:
            return _version_at(self.path) == self._version
        except (OSError, ArtifactError):
            return False


def open_artifact(path: Path, kind: str) -> Artifact:
    """Open the artefact at `path` and check that it is whole.

    Every file's size and SHA-256 is compared with the manifest, and the manifest with its seal.
    Raises ArtifactError naming the file that is missing, truncated or altered, or the kind that was
    found instead.
    """
    return read_artifact(path, kind, lambda artifact: artifact)


def read_artifact(path: Path, kind: str, read: Callable[[Artifact], _T]) -> _T:
    """Open the artefact at `path` as `open_artifact` does, and read it, as one version.

    Begun again a few times if it is replaced meanwhile; then BeingReplacedError.
    """
    path = Path(path)
    for attempt in range(_ATTEMPTS - 1):
        try:
            return _read(path, kind, read)
        except BeingReplacedError:
            time.sleep(_FIRST_WAIT * 2**attempt)
    return _read(path, kind, read)


def _read(path: Path, kind: str, read: Callable[[Artifact], _T]) -> _T:
    version = _standing_version(path)
    manifest = read_manifest(version[1], path, kind)
    artifact = Artifact(
        path,
        kind,
        manifest.config,
        manifest.inputs,
        manifest.summary,
        manifest.fingerprint,
        manifest.files,
        version,
    )
    with artifact.reading():
        for name, listed in manifest.files.items():
            check_file(path, name, listed)
        return read(artifact)


def _standing_version(path: Path) -> tuple[int, bytes]:
    """The version at `path`. During a delivery file by file none stands for a moment, and it may
    end, and another one begin, between two looks: only where several find none is there none."""
    for _ in range(_ATTEMPTS):
        recover(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            return _version_at(path)
    if not path.exists():
        raise ArtifactError(f"{path} does not exist")
    raise ArtifactError(f"{path} is not a whole artefact: it has no {MANIFEST}")


def _version_at(path: Path) -> tuple[int, bytes]:
    """When the manifest was written, and what it says. The time tells a version from an equal one
    that came later, with others between them."""
    written = (path / MANIFEST).stat().st_mtime_ns
    return written, content_of_manifest(path)


def _short(fingerprint: str | None) -> str:
    return fingerprint[:12] if fingerprint else "none"
