"""What runs in a process of the cluster: one work, opened once, for one shard after the other."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gloss.errors import ConfigError
from gloss.progress import silent
from gloss.shards import Work

__all__ = ["Surroundings", "Worker"]

_BYTES_DEPEND_ON = ("gloss-rec", "numpy", "polars", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What results depend on besides the work. folder: that relative paths begin in. versions: of
    packages that have a part in the bytes; one that is not installed has none."""

    folder: Path
    versions: Mapping[str, str]

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process."""
        found = {name: _version(name) for name in _BYTES_DEPEND_ON}
        return cls(Path.cwd(), {name: each for name, each in found.items() if each})

    def enter(self) -> None:
        """Work in them. Raises ConfigError, naming this node, where it has others."""
        node, own = socket.gethostname(), Surroundings.here().versions
        for name, wanted in self.versions.items():
            if own.get(name) != wanted:
                raise ConfigError(
                    f"the node {node} has {name} {own.get(name) or 'not installed'}, and the "
                    f"machine that began has {wanted}: install the same on all"
                )
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise ConfigError(
                f"the node {node} cannot read the folder {self.folder} ({error.strerror}): all "
                "nodes need the files of the work under the same names, on a shared disk, say"
            ) from None


class Worker:
    """An actor: `open` comes first, and once."""

    def open(self, work: Work[Any, Any], surroundings: Surroundings) -> None:
        """Take over the work. Raises ConfigError where this node does not fit."""
        surroundings.enter()
        self._work = work

    def do(self, content: Sequence[Any]) -> Any:
        """What the work makes of a shard."""
        return self._work(content, silent)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
