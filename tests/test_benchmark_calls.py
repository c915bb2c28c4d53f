"""Every documented call of a script in benchmarks/ is one that the script takes."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "argparse" in path.read_text()
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def calls_in(text: str) -> list[str]:
    """Commands that begin a line, with the lines that they go on in, or stand in code."""
    joined = text.replace("\\\n", " ")
    return re.findall(r"(?:^ *|`)python (benchmarks/\w+\.py [^\n`]+)", joined, re.MULTILINE)


def documented() -> list[str]:
    heads = [
        ast.get_docstring(ast.parse((ROOT / f"benchmarks/{name}.py").read_text())) or ""
        for name in SCRIPTS
    ]
    pages = [page.read_text("utf-8") for page in PAGES]
    return [call for text in (*heads, *pages) for call in calls_in(text)]


def parsed(call: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script, *arguments = shlex.split(call)
    module = import_module(Path(script).stem)
    if hasattr(module, "parsed"):
        return module.parsed(arguments)
    return module.call_parser().parse_args(arguments)


def test_every_script_documents_a_call():
    assert {Path(call.split()[0]).stem for call in documented()} == set(SCRIPTS)


@pytest.mark.parametrize("call", documented())
def test_a_documented_call_is_taken(call, monkeypatch):
    told = vars(parsed(call, monkeypatch))
    typed = {word.split("=")[0].lstrip("-").replace("-", "_") for word in call.split()[1:]}
    assert typed & told.keys() or "o" in typed  # an option of the call came through


def test_settings_may_stand_behind_options(monkeypatch):
    told = parsed(
        "benchmarks/accuracy.py run toys.yaml -o runs/toys data.folder=F seed=2 --without-model",
        monkeypatch,
    )
    assert told.config == Path("toys.yaml")
    assert told.overrides == ["data.folder=F", "seed=2"]
    assert told.out == Path("runs/toys")
    assert told.without_model


def test_an_unknown_command_is_refused(monkeypatch):
    with pytest.raises(SystemExit):
        parsed("benchmarks/accuracy.py ruin toys.yaml -o runs/toys", monkeypatch)
