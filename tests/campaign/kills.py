"""Kills and changes, in hundreds: nothing is lost, and nobody reads a mixture.

    python -m campaign --only kills,readers,writers

Each call of `gloss` is killed at a random time, or before a random change of the file system (also
inside renames and seals), and repeated until it ends well. After every kill the old version must
stand, whole, or the new one; at the end the bytes must be those of an undisturbed call; parts that
were finished before a kill must not have been made again. Then an index is changed in place while
another process reads it, and two processes write one artefact at the same time.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.artefacts import well
from campaign.ledger import GOOD, Row, judged
from gloss.artifacts import MANIFEST, open_artifact
from gloss.errors import ArtifactError, BeingReplacedError, GlossError
from processes import Processes, visible_bytes

__all__ = ["change_while_read", "kill", "put", "stands", "volume", "write_twice"]

_CONFIG = (
    "name: killed\n"
    "data: {source: shop, users: 60}\n"
    "model: {vocabulary: 400, layers: 1, width: 32, heads: 2, context: 256, networks: 2}\n"
    "training: {epochs: 1, batch_tokens: 2048, warmup_steps: 2, validation_users: 10}\n"
    "decoding: {beams: 4, shard_users: 8}\n"
)
_DISTURBED = 10
"""Starts of a call that are killed at most; then it may end, so that there are ends to compare."""
_NEW = ("--item", "new", "--title", "Red kite")


@dataclass(frozen=True, slots=True)
class Call:
    """A call to be killed. arguments: without -o; start: what stands at the output before, if
    anything; writes: about how many changes of the file system it makes."""

    name: str
    arguments: tuple[object, ...]
    start: Path | None
    seconds: float
    writes: int
    done_already: str = ""
    """What an error says that is no failure: the kill came after all was done."""


def kill(
    processes: Processes,
    folder: Path,
    places: dict[str, Path],
    *,
    trials: int,
    seed: int,
    names: Sequence[str] = (),
) -> list[Row]:
    """`trials` kills, shared out over calls, or those of these names, and places to write to."""
    rows = []
    calls = [*_changes_of_items(processes, folder)]
    if not names or set(names).difference(call.name for call in calls):
        calls += _long_calls(processes, folder)
    calls = [call for call in calls if not names or call.name in names]
    for call in calls:
        for where, out in places.items():
            kills = max(1, trials // (len(calls) * len(places)))
            rng = random.Random(f"{seed} {call.name} {where}")
            rows.append(_campaign(processes, call, out, where, kills, rng))
    return rows


@contextmanager
def volume(folder: Path) -> Iterator[dict[str, Path]]:
    """A mount point as output, where this process may mount."""
    out = folder / "volume"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        print("nothing can be mounted here: outputs are ordinary folders only")
        yield {}
        return
    try:
        yield {" (volume)": out}
    finally:
        subprocess.run(["umount", str(out)], check=True)


def _changes_of_items(processes: Processes, folder: Path) -> tuple[Call, ...]:
    """Make an index, and the calls that change it."""
    data, index = folder / "data", folder / "index"
    for arguments in (
        ("prepare", "shop", "--users", 60, "-o", data),
        ("index", "-d", data, "-o", index),
        ("items", "add", "-i", index, *_NEW, "-o", folder / "more"),
    ):
        well(processes.gloss(*arguments))
    add, remove = ("items", "add", *_NEW), ("items", "remove", "--item", "new")
    return (
        Call("items add", add, index, 0.1, 30, "already in"),
        Call("items remove", remove, folder / "more", 0.1, 30, "not in"),
    )


def _long_calls(processes: Processes, folder: Path) -> tuple[Call, ...]:
    """Calls that train and write, on the data set that is there; each is made once before."""
    config, data, model = folder / "killed.yaml", folder / "data", folder / "model"
    config.write_text(_CONFIG)
    trained = well(processes.gloss("train", config, "-d", data, "-o", model))
    written = ("generate", "-m", model, "-d", data, "--beams", 4, "--shard-users", 8)
    shards = well(processes.gloss(*written, "-o", folder / "generations"))
    whole = well(processes.gloss("run", config, "-o", folder / "run"))
    fewer = ("run", config, "decoding.beams=3")
    return (
        Call("train", ("train", config, "-d", data), None, trained.seconds, 60),
        Call("generate", written, None, shards.seconds, 60),
        Call("run", ("run", config), None, whole.seconds, 60),
        Call("run, changed", fewer, folder / "run", whole.seconds / 2, 60),
    )


def _campaign(
    processes: Processes, call: Call, out: Path, where: str, kills: int, rng: random.Random
) -> Row:
    row = Row("kills", call.name + where)
    put(call.start, out)
    old = visible_bytes(out)
    well(processes.gloss(*_arguments(call, out)))
    new = visible_bytes(out)
    while row.outcomes["killed"] < kills:
        put(call.start, out)
        finished: dict[Path, tuple[int, int]] = {}
        for attempt in range(_DISTURBED + 1):
            ended = processes.gloss(*_arguments(call, out), **_kill(call, attempt, rng))
            finished = {**_finished_parts(out), **finished}
            if ended.code is not None:
                break
            row.add("killed" if stands(out, old, new) else "lost", f"attempt {attempt}")
        if ended.code != 0 and not (call.done_already and call.done_already in ended.stderr):
            row.add("words" if judged(ended) in GOOD else judged(ended), ended.stderr)
            break  # what fails once would fail for ever
        redone = [str(part) for part, seen in finished.items() if _identity(part) != seen]
        if visible_bytes(out) != new or redone:
            row.add("changed", f"made again: {redone}" if redone else "other bytes")
        else:
            row.add("well")
    return row


def _arguments(call: Call, out: Path) -> tuple[object, ...]:
    in_place = ("-i", out) if call.name.startswith("items") else ()
    return (*call.arguments, *in_place, "-o", out)


def _kill(call: Call, attempt: int, rng: random.Random) -> dict[str, float | int | None]:
    if attempt == _DISTURBED:
        return {}
    if rng.random() < 0.3:
        return {"kill_after": rng.uniform(0.0, call.seconds)}
    return {"kill_at_write": rng.randint(1, call.writes)}


def put(start: Path | None, out: Path) -> None:
    """Empty the output, and put there what stands before."""
    out.mkdir(exist_ok=True)
    for child in out.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    for child in out.parent.glob(f".{out.name}.*"):
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    if start is not None:
        shutil.copytree(start, out, dirs_exist_ok=True)


def stands(out: Path, old: dict[str, bytes], new: dict[str, bytes]) -> bool:
    """Whether every artefact that was there is there, whole, in the old version or the new one."""
    for name in [name for name in old if Path(name).name == MANIFEST]:
        folder = (out / name).parent
        prefix = str(Path(name).parent)
        try:
            made = open_artifact(folder, json.loads(old[name])["kind"])
        except ArtifactError:
            return False
        own = [str(Path(prefix) / each) for each in made.files]
        found = {each: (out / each).read_bytes() for each in own}
        if not any(all(version.get(n) == c for n, c in found.items()) for version in (old, new)):
            return False
    return True


def _finished_parts(out: Path) -> dict[Path, tuple[int, int]]:
    """Files of parts that a draft has recorded as done, as places of the finished artefact."""
    found = {}
    beside = out.parent.glob(f".{out.name}.partial/.parts.jsonl")
    for record in [*beside, *out.rglob(".parts.jsonl")]:
        for line in record.read_bytes().split(b"\n"):
            try:
                names = json.loads(line)["files"]
            except (ValueError, KeyError):
                continue
            # What is scratch is gone at the end.
            for name in (each for each in names if not each.startswith("training/")):
                found[_place_of(record.parent) / name] = _identity(record.parent / name)
    return {place: seen for place, seen in found.items() if seen is not None}


def _place_of(draft: Path) -> Path:
    if draft.name == ".gloss.partial":
        return draft.parent
    return draft.with_name(draft.name.removeprefix(".").removesuffix(".partial"))


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def change_while_read(
    processes: Processes, index: Path, places: dict[str, Path], *, trials: int
) -> list[Row]:
    """Add and remove an item in place, again and again, while another process loads the index."""
    rows = []
    for where, out in places.items():
        row = Row("readers", f"an index that changes{where}")
        found = _changes(processes, index, out, trials // len(places))
        row.outcomes.update({name: found[name] for name in ("well", "refused", "changed")})
        row.outcomes["traceback"] += found["other"]
        rows.append(row)
    return rows


def _changes(processes: Processes, index: Path, out: Path, changes: int) -> Counter[str]:
    put(index, out)
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    reader = context.Process(target=_read_until, args=(out, stop, results))
    reader.start()
    results.get()
    calls: Sequence[tuple[object, ...]] = (
        ("items", "add", "-i", out, *_NEW, "-o", out),
        ("items", "remove", "-i", out, "--item", "new", "-o", out),
    )
    for number in range(changes):
        well(processes.gloss(*calls[number % 2]))
    stop.set()
    found: Counter[str] = results.get()
    reader.join()
    return found


def _read_until(path: Path, stop: Any, results: Any) -> None:
    from gloss.retrieval.index import load_index

    count: Counter[str] = Counter()
    small = len(load_index(path).catalogue)
    results.put("ready")
    while not stop.is_set():
        try:
            index = load_index(path)
            size, found = len(index.catalogue), index.retriever.search(["Red kite"], 1000)[0]
            has_new = "new" in {hit.item for hit in found}
            count["well" if has_new == (size > small) else "changed"] += 1
        except BeingReplacedError:
            count["refused"] += 1
        except GlossError:
            count["changed"] += 1  # it is called damaged, and is not
        except Exception:
            count["other"] += 1
    results.put(count)


def write_twice(
    first: Processes, second: Processes, folder: Path, *, trials: int, seed: int
) -> Row:
    """Two processes at one artefact at the same time: one of them makes it, whole, and the other
    has done nothing, or says that it could not."""
    row, rng = Row("writers", "two at one artefact"), random.Random(f"{seed} writers")
    config = folder / "twice.yaml"
    config.write_text(_CONFIG)
    well(first.gloss("run", config, "-o", folder / "once"))
    expected, out = visible_bytes(folder / "once"), folder / "twice"
    for _ in range(trials):
        put(None, out)
        delay = rng.uniform(0.0, 1.0)
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(first.gloss, "run", config, "-o", out, limit=60.0)
            two = pool.submit(_later, second, delay, ("run", config, "-o", out))
        outcomes = [judged(one.result()), judged(two.result())]
        said = one.result().stderr + two.result().stderr
        bad = [outcome for outcome in outcomes if outcome not in GOOD]
        if bad or "well" not in outcomes:
            row.add(bad[0] if bad else "words", said)
        else:
            whole = visible_bytes(out) == expected
            row.add(outcomes[1] if whole else "changed", f"after {delay:.2f} s: {said}")
    return row


def _later(processes: Processes, delay: float, call: Sequence[object]) -> Any:
    time.sleep(delay)
    return processes.gloss(*call, limit=60.0)
