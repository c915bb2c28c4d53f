"""What a reader types: the commands of README and of the page on one's own shop run as they stand.

`gloss demo` and `gloss run` get settings behind what is typed that make them small, as a reader may
add them. Lines that install are not run, since they download: what they name is compared with the
project, and `test_package.py` installs a wheel.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import ENVIRONMENT

ROOT = Path(__file__).parents[2]
README, OWN_SHOP = ROOT / "README.md", ROOT / "docs" / "start" / "your-own-shop.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
_SMALL = (
    "model.vocabulary=400 model.layers=1 model.width=32 model.heads=2 model.context=128 "
    "training.epochs=1 training.validation_users=2 decoding.beams=4"
)
_SHELL = f"""
set -euo pipefail
gloss() {{
  case $1 in
    demo) command gloss "$@" data.users=60 {_SMALL} ;;
    run) command gloss "$@" {_SMALL} ;;
    *) command gloss "$@" ;;
  esac
}}
"""
_INSTALLS = re.compile(r"^(uv |pip |python3 -m venv|source |make )", re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """As a checkout looks to the commands; with purchases, for README's own ones."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "configs").symlink_to(ROOT / "configs")
    people = [f"{user};{item};2026-01-0{day}" for user in range(20) for day, item in enumerate(
        (f"K{user % 3}", f"T{user % 4}", f"K{(user + 1) % 3}", f"T{(user + 1) % 4}"), start=1
    )]  # fmt: skip
    items = [f"K{n};Red kite {n}" for n in range(3)] + [f"T{n};Tea pot {n}" for n in range(4)]
    (folder / "purchases.csv").write_text("\n".join(["customer;sku;bought_at", *people]))
    (folder / "catalogue.csv").write_text("\n".join(["sku;name", *items]))
    return folder


def test_readmes_commands_run_as_typed(folder):
    for block in _blocks(README, "bash"):
        _typed("\n".join(line for line in block.splitlines() if not _INSTALLS.match(line)), folder)
    assert (folder / "runs" / "demo" / "report.html").is_file()
    assert (folder / "runs" / "own-shop" / "report.html").is_file()


def test_readmes_python_runs_on_what_its_commands_made(folder, monkeypatch, capsys):
    if not (folder / "runs" / "demo").is_dir():
        pytest.skip("the commands before it were not run")
    (example,) = _blocks(README, "python")
    monkeypatch.chdir(folder)
    exec(compile(example, str(README), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(" because of: " in line for line in lines)
    assert len(example.strip().splitlines()) <= 10


def test_the_page_on_ones_own_shop_runs_as_typed(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    said = "".join(_typed(block, tmp_path) for block in _blocks(OWN_SHOP, "bash"))
    assert "semicolons between columns" in said  # what was understood is printed
    assert (tmp_path / "runs" / "own-shop" / "report.html").is_file()


def test_readme_installs_what_the_project_names():
    text = README.read_text("utf-8")
    extras = set(re.findall(r"\w+", " ".join(re.findall(r"\.\[([\w,]+)\]", text))))
    assert extras == {"train", "trees"}
    assert extras <= set(PROJECT["optional-dependencies"])
    (torch,) = {line.split("+")[0] for line in re.findall(r"torch==[\w.+]+", text)}
    assert torch in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert f"gloss_rec-{PROJECT['version']}-py3-none-any.whl" in text
    assert "…" not in "".join(_blocks(README, "bash"))  # every line can be pasted


def test_the_version_is_the_newest_of_the_changelog():
    versions = re.findall(r"^## \[(\d\S*)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert versions[0] == PROJECT["version"]


def _blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def _typed(commands: str, folder: Path) -> str:
    """Run lines in bash as in an activated environment; what they print."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-c", _SHELL + commands],
        cwd=folder,
        env={**ENVIRONMENT, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr
