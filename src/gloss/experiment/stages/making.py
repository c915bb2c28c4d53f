"""How a stage decides whether there is anything to do. Knows artefacts; knows no stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, is_current, open_artifact

__all__ = ["made_once"]


def made_once(
    out: Path,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    make: Callable[[], None],
) -> Artifact:
    """Make the artefact at `out` unless it stands there already; open it."""
    if not is_current(out, kind=kind, config=config, inputs=inputs):
        make()
    return open_artifact(out, kind)
