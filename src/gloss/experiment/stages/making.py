"""How a stage decides whether there is anything to do. Knows artefacts; knows no stage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gloss.artifacts import (
    Artifact,
    find_current,
    finish_draft,
    listing_in,
    open_artifact,
    require_deliverable,
    set_aside,
)
from gloss.errors import ArtifactError, BeingReplacedError

__all__ = ["followed", "made_once"]

_log = logging.getLogger(__name__)


def made_once(
    out: Path,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    make: Callable[[], None],
    *,
    is_work: bool = False,
) -> Artifact:
    """Make the artefact at `out` unless it stands there already; open it.

    A draft that a killed run had completed is only put in its place. A damaged artefact is made
    again, and the log says so; one that `is_work` (trained, or written by a model for hours) is
    kept under a hidden name first.
    """
    finish_draft(out, kind=kind, config=config, inputs=inputs)
    damage: ArtifactError | None = None
    try:
        standing = open_artifact(out, kind)
    except BeingReplacedError:
        raise
    except ArtifactError as error:
        damage = error
    else:
        if standing.is_of(config, inputs):
            return standing
    require_deliverable(out, kind)
    if damage:
        _tell_of_damage(out, kind, damage, is_work=is_work)
    make()
    return open_artifact(out, kind)


def followed(
    out: Path,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    follow: Callable[[], None],
) -> Artifact:
    """What `made_once` does in a process that helps another one, which writes."""
    if find_current(out, kind=kind, config=config, inputs=inputs) is None:
        follow()
    return open_artifact(out, kind)


def _tell_of_damage(out: Path, kind: str, damage: ArtifactError, *, is_work: bool) -> None:
    listing = listing_in(Path(out))
    if listing is None or listing.kind != kind:
        return  # nothing of ours is there
    kept = f", and kept as {set_aside(out, kind)}" if is_work else ""
    _log.warning("%s: it is made again%s", damage, kept)
