"""Artefacts: folders that are whole or absent. The one place that writes files.

An artefact is a folder of data files and a `manifest.json`, written last, that lists them with
their checksums and vouches for itself. It is filled in a hidden draft and put in its place in one
step, so a folder that stands under its own name is whole (`delivery`). A draft outlives a crash:
the next run by the same recipe goes on where the last one stopped (`making`).
A reader reads one version, whoever replaces it meanwhile, and only what the manifest lists
(`reading`). Nothing is removed or replaced but what a manifest of ours lists. Manifests hold no
times and no paths, so equal work gives equal bytes.

This package knows nothing of what the files mean.
"""

from gloss.artifacts.delivery import draft_of, require_deliverable, set_aside
from gloss.artifacts.drafts import Draft
from gloss.artifacts.files import fingerprint_of, fingerprint_of_file, locked, write_atomic
from gloss.artifacts.making import Recipe
from gloss.artifacts.manifest import MANIFEST, listing_in
from gloss.artifacts.reading import (
    Artifact,
    open_artifact,
    read_artifact,
)
from gloss.artifacts.records import ArtifactConfig, ArtifactSummary, read_recorded

__all__ = [
    "MANIFEST",
    "Artifact",
    "ArtifactConfig",
    "ArtifactSummary",
    "Draft",
    "Recipe",
    "draft_of",
    "fingerprint_of",
    "fingerprint_of_file",
    "listing_in",
    "locked",
    "open_artifact",
    "read_artifact",
    "read_recorded",
    "require_deliverable",
    "set_aside",
    "write_atomic",
]
