"""The notebooks run from the first cell to the last, as a reader would run them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from processes import ENVIRONMENT

nbformat = pytest.importorskip("nbformat", reason="needs nbformat (make .venv/.dev)")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient (make .venv/.dev)")
pytest.importorskip("ipykernel", reason="needs ipykernel (make .venv/.dev)")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
EXPECTED = {
    "1-five-minutes": ("report.html", "(written: "),
    "2-your-own-shop": ("Kite tail, 3 m",),
    "3-reading-a-report": ("short alone",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The notebooks' folder in a checkout."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "configs").symlink_to(ROOT / "configs")
    (root / "notebooks").mkdir()
    return root / "notebooks"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_first_to_last(path, folder, monkeypatch):
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, value in {**ENVIRONMENT, "PATH": commands}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    said = "".join(_texts(notebook))
    assert [text for text in EXPECTED[path.stem] if text not in said] == []


def test_every_notebook_is_expected_here_and_is_kept_without_outputs():
    assert {path.stem for path in NOTEBOOKS} == set(EXPECTED)
    notebooks = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    cells = [cell for notebook in notebooks for cell in notebook.cells if "outputs" in cell]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def _texts(notebook: Any) -> list[str]:
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    return [str(out.get("text", "")) + str(out.get("data", "")) for out in outputs]
