"""Artefacts to spoil, replace and kill: made here, with two files that must agree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gloss.artifacts import Artifact, Recipe, open_artifact

Make = Callable[..., Artifact]


def make_artifact(path: Path, text: str = "kites") -> Artifact:
    """Two files that say the same, so that a mixture of versions shows."""
    with Recipe("thing", {"text": text}, {}).draft(path) as draft:
        draft.write_json("one.json", text)
        (draft.path / "deep").mkdir(exist_ok=True)
        draft.write_json("deep/two.json", text)
        draft.write_json(f"of-{text}.json", text)
    return open_artifact(path, "thing")


@pytest.fixture
def make() -> Make:
    """Makes an artefact of the kind "thing"."""
    return make_artifact


@pytest.fixture(scope="session")
def write() -> Iterator[Callable[..., bool]]:
    """Writes a version in a process of its own, killed before its n-th change of the file system;
    whether it was. Three files say the same."""
    script = Path(__file__).with_name("writer.py")
    search = os.pathsep.join([str(script.parent.parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def call(out: Path, text: str, way: str = "exchange", *, kill_at: int = 0) -> bool:
            writer.stdin.write(json.dumps([str(out), text, way, kill_at]) + "\n")
            writer.stdin.flush()
            ended = int(writer.stdout.readline())
            assert ended in (0, -9), ended
            return ended == -9

        yield call
        writer.stdin.close()


def mounted(*arguments: str) -> None:
    """Mount something, or skip the test where that is not allowed."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount")
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")


@pytest.fixture
def volume(tmp_path) -> Iterator[Path]:
    """A disk of its own, mounted where the output is to be: a container's volume."""
    out = tmp_path / "volume"
    out.mkdir()
    mounted("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(out))
    yield out
    subprocess.run(["umount", str(out)], check=True)


@pytest.fixture
def same_disk(tmp_path) -> Iterator[Path]:
    """A folder mounted over itself: a mount point whose disk is its parent's."""
    out = tmp_path / "bound"
    out.mkdir()
    mounted("--bind", str(out), str(out))
    yield out
    subprocess.run(["umount", str(out)], check=True)


@pytest.fixture
def closed_parent(tmp_path) -> Iterator[Path]:
    """A folder that may be written, in one that may not."""
    parent = tmp_path / "parent"
    (parent / "out").mkdir(parents=True)
    mounted("--bind", str(parent), str(parent))
    mounted("-t", "tmpfs", "tmpfs", str(parent / "out"))
    mounted("-o", "remount,ro,bind", str(parent))
    yield parent / "out"
    subprocess.run(["umount", str(parent / "out")], check=True)
    subprocess.run(["umount", str(parent)], check=True)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, hidden ones too, and what is in it."""
    return tree
