"""Flipped bits: whatever bit of an artefact is another one, reading it says which file it is in.

    python -m campaign --only flips

One flip a trial, in any file of any kind of artefact, the manifest among them; besides, flips in
the finished shards of a killed run's draft, which a later call must not seal.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

from campaign.artefacts import SETTINGS, copied, well
from campaign.ledger import Row
from gloss.artifacts import MANIFEST, draft_of, open_artifact
from gloss.errors import ArtifactError
from processes import Processes, visible_bytes

__all__ = ["flip_bits", "flip_drafts"]


def flip_bits(made: dict[str, Path], folder: Path, *, trials: int, seed: int) -> list[Row]:
    """`trials` flips, shared out over the kinds of artefact."""
    rows = []
    for name, artefact in made.items():
        row, rng = Row("flips", name), random.Random(f"{seed} {name}")
        spoiled = copied(artefact, folder / "flipped")
        files = sorted(file for file in spoiled.rglob("*") if file.is_file())
        kind = json.loads((spoiled / MANIFEST).read_bytes())["kind"]
        for _ in range(max(1, trials // len(made))):
            _flip_one(row, spoiled, kind, rng.choice(files), rng)
        rows.append(row)
    return rows


def _flip_one(row: Row, artefact: Path, kind: str, file: Path, rng: random.Random) -> None:
    before = file.read_bytes()
    if not before:
        return
    bit = rng.randrange(8 * len(before))
    file.write_bytes(_flipped(before, bit))
    where = f"bit {bit} of {file.relative_to(artefact)}"
    try:
        open_artifact(artefact, kind)
    except ArtifactError as error:
        named = file.name in str(error) or file.name == MANIFEST
        row.add("refused" if named else "words", f"{where}: {error}")
    except Exception as error:
        row.add("traceback", f"{where}: {error!r}")
    else:
        row.add("changed", where)
    file.write_bytes(before)


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flip_drafts(processes: Processes, folder: Path, *, trials: int, seed: int) -> Row:
    """Kill a generation, flip a bit of what it has finished, go on: nothing of it may remain."""
    row, rng = Row("flips", "finished shards of a draft"), random.Random(f"{seed} drafts")
    config, model, data = folder / "draft.yaml", folder / "draft-model", folder / "draft-data"
    config.write_text(SETTINGS.replace("RULE", "log-linear"))
    well(processes.gloss("prepare", "shop", "--users", 60, "-o", data))
    well(processes.gloss("train", config, "-d", data, "-o", model))
    call = ("generate", "-m", model, "-d", data, "--beams", 4, "--shard-users", 8)
    well(processes.gloss(*call, "-o", folder / "undisturbed"))
    expected = visible_bytes(folder / "undisturbed")
    out, first = folder / "written", 14  # about where the second shard is finished
    for _ in range(trials):
        shutil.rmtree(out, ignore_errors=True)
        shards: list[Path] = []
        for moment in range(first, 40):
            processes.gloss(*call, "-o", out, kill_at_write=moment)
            shards = sorted(draft_of(out).glob("part-*.jsonl"))
            if shards:
                first = moment
                break
        shard = rng.choice(shards)
        bit = rng.randrange(8 * shard.stat().st_size)
        shard.write_bytes(_flipped(shard.read_bytes(), bit))
        ended = processes.gloss(*call, "-o", out)
        if ended.code == 0:
            whole = visible_bytes(out) == expected
            row.add("well" if whole else "changed", f"bit {bit} of {shard.name}")
        else:
            row.add("words", f"bit {bit} of {shard.name}: {ended.stderr}")
    return row
