"""Kills and changes, in hundreds: nothing is lost, and nobody reads a mixture.

    python tests/campaign/kills.py --kills 300 --changes 500 --out campaign.json

Slower than a test may be, so it is run by hand. Each call of `gloss` is killed at a random time, or
before a random change of the file system (also inside renames and seals), and repeated until it
ends well. After every kill the old version must stand, whole, or the new one; at the end the bytes
must be those of an undisturbed call; parts that were finished before a kill must not have been
made again. Then an index is changed in place while another process reads it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gloss.artifacts import MANIFEST, open_artifact
from gloss.errors import ArtifactError, BeingReplacedError, GlossError
from gloss.retrieval.index import load_index
from processes import Ended, Processes, visible_bytes

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


@dataclass(slots=True)
class Row:
    """What became of one kind of call."""

    name: str
    kills: int = 0
    ends: int = 0
    equal: int = 0
    lost: int = 0
    redone: int = 0
    left_over: int = 0
    failures: int = 0


def main() -> None:
    """Kill, change, print the table, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="Calls whose names begin so.")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        processes = stack.enter_context(Processes.started(folder))
        calls = [c for c in _calls(processes, folder) if c.name.startswith(args.only)]
        places = {"": folder / "out"} | _volume(folder, stack)
        rows = []
        for call in calls:
            for where, out in places.items():
                kills = max(1, args.kills // (len(calls) * len(places)))
                rng = random.Random(f"{args.seed} {call.name} {where}")
                rows.append(_campaign(processes, call, out, where, kills, rng))
                print(_line(rows[-1]), flush=True)
        read = {
            name: _changes(processes, folder / "index", out, args.changes // len(places))
            for name, out in places.items()
        }
    print(json.dumps(read))
    result = {"seed": args.seed, "kills": [asdict(row) for row in rows], "changes": read}
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    bad = sum(row.lost + row.redone + row.failures + row.ends - row.equal for row in rows)
    bad += sum(each[name] for each in read.values() for name in ("mixed", "damaged", "other"))
    sys.exit(1 if bad else 0)


def _line(row: Row) -> str:
    return "  ".join(f"{name} {value}" for name, value in asdict(row).items())


def _volume(folder: Path, stack: ExitStack) -> dict[str, Path]:
    """A mount point as output, where this process may mount."""
    out = folder / "volume"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        print("nothing can be mounted here: outputs are ordinary folders only")
        return {}
    stack.callback(subprocess.run, ["umount", str(out)], check=True)
    return {" (volume)": out}


def _calls(processes: Processes, folder: Path) -> tuple[Call, ...]:
    """Make what the calls need, and the calls."""
    config, data, model, index = (folder / n for n in ("killed.yaml", "data", "model", "index"))
    config.write_text(_CONFIG)
    for arguments in (
        ("prepare", "shop", "--users", 60, "-o", data),
        ("index", "-d", data, "-o", index),
        ("items", "add", "-i", index, *_NEW, "-o", folder / "more"),
    ):
        _well(processes.gloss(*arguments))
    trained = _well(processes.gloss("train", config, "-d", data, "-o", model))
    written = ("generate", "-m", model, "-d", data, "--beams", 4, "--shard-users", 8)
    shards = _well(processes.gloss(*written, "-o", folder / "generations"))
    whole = _well(processes.gloss("run", config, "-o", folder / "run"))
    fewer = ("run", config, "decoding.beams=3")
    add, remove = ("items", "add", *_NEW), ("items", "remove", "--item", "new")
    return (
        Call("items add", add, index, 0.1, 30, "already in"),
        Call("items remove", remove, folder / "more", 0.1, 30, "not in"),
        Call("train", ("train", config, "-d", data), None, trained.seconds, 60),
        Call("generate", written, None, shards.seconds, 60),
        Call("run", ("run", config), None, whole.seconds, 60),
        Call("run, changed", fewer, folder / "run", whole.seconds / 2, 60),
    )


def _well(ended: Ended) -> Ended:
    assert ended.code == 0, ended.stderr
    return ended


def _campaign(
    processes: Processes, call: Call, out: Path, where: str, kills: int, rng: random.Random
) -> Row:
    row = Row(call.name + where)
    _put(call.start, out)
    old = visible_bytes(out)
    _well(processes.gloss(*_arguments(call, out)))
    new = visible_bytes(out)
    while row.kills < kills:
        _put(call.start, out)
        finished: dict[Path, tuple[int, int]] = {}
        for attempt in range(_DISTURBED + 1):
            ended = processes.gloss(*_arguments(call, out), **_kill(call, attempt, rng))
            finished = {**_finished_parts(out), **finished}
            if ended.code is not None:
                break
            row.kills += 1
            row.lost += not _stands(out, old, new)
        row.ends += 1
        if ended.code != 0 and not (call.done_already and call.done_already in ended.stderr):
            row.failures += 1
            print(ended.stderr, file=sys.stderr)
            break  # what fails once would fail for ever
        row.equal += visible_bytes(out) == new
        row.redone += sum(_identity(part) != seen for part, seen in finished.items())
        row.left_over += len([p for p in out.rglob(".*") if p.name != "lost+found"])
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


def _put(start: Path | None, out: Path) -> None:
    """Empty the output, and put there what stands before."""
    out.mkdir(exist_ok=True)
    for child in out.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    for child in out.parent.glob(f".{out.name}.*"):
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    if start is not None:
        shutil.copytree(start, out, dirs_exist_ok=True)


def _stands(out: Path, old: dict[str, bytes], new: dict[str, bytes]) -> bool:
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


def _changes(processes: Processes, index: Path, out: Path, changes: int) -> dict[str, int]:
    """Add and remove an item in place, again and again, while another process loads the index."""
    _put(index, out)
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
        _well(processes.gloss(*calls[number % 2]))
    stop.set()
    found: dict[str, int] = results.get()
    reader.join()
    return {"changes": changes, **found}


def _read_until(path: Path, stop: Callable[[], bool], results: object) -> None:
    count = Counter(dict.fromkeys(("whole", "told", "mixed", "damaged", "other"), 0))
    small = len(load_index(path).catalogue)
    results.put("ready")  # type: ignore[attr-defined]
    while not stop.is_set():  # type: ignore[attr-defined]
        try:
            index = load_index(path)
            size, found = len(index.catalogue), index.retriever.search(["Red kite"], 1000)[0]
            has_new = "new" in {hit.item for hit in found}
            count["whole" if has_new == (size > small) else "mixed"] += 1
        except BeingReplacedError:
            count["told"] += 1
        except GlossError:
            count["damaged"] += 1
        except Exception:
            count["other"] += 1
    results.put(dict(count))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
