"""JAX is not started: shown with a package of that name that fails as soon as it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SEARCH = """
from gloss.data.catalogue import Catalogue, Item
from gloss.retrieval.index import build_index
from gloss.retrieval.retriever import IndexSettings

retriever = build_index(Catalogue([Item("b1", "Red kite"), Item("b2", "Tea pot")]), IndexSettings())
assert [hit.item for hit in retriever.search(["a kite"], 1)[0]] == ["b1"]
"""


@pytest.fixture
def jax(tmp_path) -> Path:
    """A folder with a package `jax`: it notes every import and every operation."""
    package = tmp_path / "jax"
    package.mkdir()
    note = f"open({str(tmp_path / 'noted')!r}, 'a').write"
    (package / "__init__.py").write_text(f"{note}('imported ')\n")
    (package / "lax.py").write_text(f"def top_k(scores, k):\n    {note}('started ')\n")
    return tmp_path


def noted(jax: Path, code: str) -> str:
    """What a fresh Python that runs this does with JAX."""
    path = os.pathsep.join([str(jax), *sys.path])
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True)
    note = jax / "noted"
    return note.read_text() if note.exists() else ""


def test_bm25s_alone_starts_jax(jax):
    assert noted(jax, "import bm25s") == "imported started "


@pytest.mark.parametrize(
    "code", [SEARCH, "import gloss.experiment.pipeline", "import gloss.cli.main"]
)
def test_gloss_does_not_import_jax(jax, code):
    assert noted(jax, code) == ""


def test_jax_that_was_imported_before_is_not_started(jax):
    assert noted(jax, f"import jax.lax\n{SEARCH}") == "imported "


def test_jax_can_be_imported_and_used_afterwards(jax):
    assert noted(jax, f"{SEARCH}\nimport jax.lax\njax.lax.top_k([1], 1)") == "imported started "


def test_the_import_system_is_left_as_it_was():
    code = f"import sys\nbefore = sys.meta_path[:]\n{SEARCH}\nassert sys.meta_path == before"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_bm25s_that_is_there_already_is_used():
    code = """
import bm25s
from gloss.retrieval.lexical.bm25s_import import import_bm25s
assert import_bm25s() is bm25s
"""
    subprocess.run([sys.executable, "-c", code], check=True)
