"""`gloss generate`, killed at random moments many times; each time it must end with the same bytes.

    python tests/kill_generate.py --kills 60

Slower than a test may be, so it is run by hand: real SIGKILLs at random times, each followed by the
same call, until the call ends well; then the artefact is compared with an undisturbed one.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path

from processes import Processes, visible_bytes

_SHAPE = "{vocabulary: 800, layers: 2, width: 64, heads: 4, context: 384}"
_CONFIG = f"name: killed\ndata: {{source: shop}}\nmodel: {_SHAPE}\ntraining: {{epochs: 1}}\n"


def main() -> None:
    """Prepare, generate undisturbed, then kill and compare; prints the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    folder = Path(tempfile.mkdtemp())
    (folder / "config.yaml").write_text(_CONFIG)
    with Processes.started(folder) as processes:
        call = _prepared(processes, folder)
        ended = processes.gloss(*call, "-o", folder / "whole")
        assert ended.code == 0, ended.stderr
        whole = visible_bytes(folder / "whole")
        kills = artefacts = 0
        while kills < args.kills:
            out = folder / f"cut-{artefacts}"
            kills += _killed(processes, call, out, rng, longest=ended.seconds)
            assert visible_bytes(out) == whole, f"{out} is another one"
            artefacts += 1
    files = sum(name.startswith("part-") for name in whole)
    print(json.dumps({"kills": kills, "artefacts": artefacts, "shards": files, "equal": artefacts}))


def _prepared(processes: Processes, folder: Path) -> tuple[object, ...]:
    data, model = folder / "data", folder / "model"
    for call in (
        ("prepare", "shop", "--users", 300, "-o", data),
        ("train", folder / "config.yaml", "-d", data, "-o", model),
    ):
        ended = processes.gloss(*call)
        assert ended.code == 0, ended.stderr
    return ("generate", "-m", model, "-d", data, "--beams", 4, "--shard-users", 16)


def _killed(
    processes: Processes,
    call: tuple[object, ...],
    out: Path,
    rng: random.Random,
    *,
    longest: float,
) -> int:
    """Kill the call at random times until it has ended well; how often."""
    for kills in range(100):
        # At most ten disturbed starts: then it may end, so that there are many ends to compare.
        moment = rng.uniform(0.0, longest) if kills < 10 else None
        ended = processes.gloss(*call, "-o", out, kill_after=moment)
        if ended.code is not None:
            assert ended.code == 0, ended.stderr
            return kills
    raise AssertionError("it never ends")


if __name__ == "__main__":
    main()
