"""How a stage decides whether there is anything to do. Knows artefacts; knows no stage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gloss.artifacts import (
    MANIFEST,
    Artifact,
    find_current,
    finish_draft,
    listing_in,
    open_artifact,
    require_deliverable,
    set_aside,
)
from gloss.errors import ArtifactError, BeingReplacedError, InputError

__all__ = ["followed", "made_once", "require_not_replaced"]

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
    found = find_current(out, kind=kind, config=config, inputs=inputs)
    if found is None:
        require_deliverable(out, kind)
        _tell_of_damage(out, kind, is_work=is_work)
        make()
        found = open_artifact(out, kind)
    return found


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


def require_not_replaced(
    out: Path, kind: str, config: Mapping[str, Any], inputs: Mapping[str, str], what: str
) -> None:
    """Raise InputError if another artefact of this kind stands at `out`, damaged or not.

    For what a command makes on the way, at a place that may be anybody's. what: names it in the
    message.
    """
    if (Path(out) / MANIFEST).is_file() and not find_current(
        out, kind=kind, config=config, inputs=inputs
    ):
        raise InputError(
            f"{out} holds {what} of other settings or data, which this would replace: name another "
            "folder"
        )


def _tell_of_damage(out: Path, kind: str, *, is_work: bool) -> None:
    try:
        open_artifact(out, kind)
    except BeingReplacedError:
        raise
    except ArtifactError as damage:
        listing = listing_in(Path(out))
        if listing is None or listing.kind != kind:
            return  # nothing of ours is there
        kept = f", and kept as {set_aside(out, kind)}" if is_work else ""
        _log.warning("%s: it is made again%s", damage, kept)
