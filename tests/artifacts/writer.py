"""Writes versions of an artefact, in processes that a test may kill.

Each line of standard input is a call, [folder, text, way, kill_at]; the answer is the status of the
process that did it. A call is a fork, so it costs no import.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from gloss.artifacts import Recipe, delivery
from processes import killer


def write(out: Path, text: str, way: str, kill_at: int) -> None:
    """One version, killed before its n-th change of the file system; 0: not at all."""
    if way == "two renames":
        delivery.exchange = lambda *_: False
    recipe = Recipe("thing", {"text": text}, {})
    if kill_at:
        sys.addaudithook(killer(kill_at))
    if recipe.finish(out):
        return
    with recipe.draft(out, scratch=("checkpoints",)) as draft:
        (draft.path / "checkpoints").mkdir(exist_ok=True)
        if not draft.is_finished("one"):
            draft.write_json("one.json", text)
            draft.finish("one", ["one.json"])
        (draft.path / "deep").mkdir(exist_ok=True)
        draft.write_json("deep/two.json", text)
        draft.write_json(f"of-{text}.json", text)


def main() -> None:
    """A process for each call that is read."""
    for line in sys.stdin:
        out, text, way, kill_at = json.loads(line)
        process = os.fork()
        if not process:
            status = 1
            try:
                write(Path(out), text, way, kill_at)
                status = 0
            finally:
                os._exit(status)
        status = os.waitpid(process, 0)[1]
        assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
