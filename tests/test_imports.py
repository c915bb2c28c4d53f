from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gloss

SRC = Path(gloss.__file__).parent
ORDER = (
    "errors",
    "choices",
    "progress",
    "retries",
    "shards",
    "arrays",
    "artifacts",
    "config",
    "data",
    "prompts",
    "rankings",
    "training",
    "language",
    "decoding",
    "retrieval",
    "rankers",
    "fusion",
    "evaluation",
    "recommender",
    "report",
    "experiment",
    "serving",
    "scale",
    "testing",
    "cli",
    "__main__",
)
TORCH = {"torch", "transformers", "tokenizers", "safetensors"}
NEED_TORCH = ("language/", "training/", "decoding/cuda/", "decoding/cpu/", "decoding/vllm/")
MAY_NEED_TORCH = {
    "rankers/dual_encoder/log_partition.py",
    "rankers/dual_encoder/network.py",
    "rankers/dual_encoder/next_items.py",
    "rankers/dual_encoder/training.py",
    "decoding/beam_loop.py",
    "decoding/beam_search.py",
    "decoding/beams.py",
    "decoding/exhaustive.py",
    "decoding/batches.py",
    "decoding/lineage.py",
    "decoding/llama.py",
    "decoding/memory.py",
    "decoding/slots.py",
    "decoding/support.py",
    "decoding/title_trie.py",
    "decoding/transfer.py",
    "decoding/transformers_generator.py",
    "rankers/sasrec/ensemble.py",
    "rankers/sasrec/full_softmax.py",
    "rankers/sasrec/network.py",
    "rankers/sasrec/training.py",
    "rankers/teaching.py",
    "retrieval/dense/retriever.py",
}
MODULES = sorted(path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py"))


def imports(tree: ast.AST, *, everywhere: bool) -> Iterator[str]:
    """Names of imported modules: those that run at import, or all of them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        local = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if everywhere or not (local or _for_types_only(node)):
            yield from imports(node, everywhere=everywhere)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def parsed(module: str) -> ast.AST:
    return ast.parse((SRC / module).read_text("utf-8"))


def part(module: str) -> str:
    """The folder or file of the package that a module belongs to: its place in the order."""
    return module.split("/")[0].removesuffix(".py")


def test_every_module_has_a_place_in_the_order():
    assert {part(module) for module in MODULES} - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("module", [module for module in MODULES if module != "__init__.py"])
def test_a_folder_imports_only_from_those_above_it(module):
    above = ORDER[: ORDER.index(part(module)) + 1]
    for name in imports(parsed(module), everywhere=True):
        package, *rest = name.split(".")
        if package == "gloss":
            assert rest[0] in above, f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_torch_is_imported_where_models_are_and_inside_functions_elsewhere(module):
    if module.startswith(NEED_TORCH) or module in MAY_NEED_TORCH:
        return
    needed = {name.split(".")[0] for name in imports(parsed(module), everywhere=False)}
    assert not needed & TORCH


def test_only_the_command_line_prints():
    for module in MODULES:
        if not module.startswith("cli/"):
            calls = [n for n in ast.walk(parsed(module)) if isinstance(n, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


@pytest.mark.parametrize(
    "code",
    [
        "import gloss",
        "from gloss.cli.app import app; app(['--help'], standalone_mode=False)",
        "from gloss.cli.app import app; app(['run', '--help'], standalone_mode=False)",
        "import gloss.errors, gloss.progress, gloss.artifacts, gloss.prompts",
        "import gloss.experiment.run_folder",
    ],
)
def test_starting_imports_nothing_heavy(code):
    assert loaded_by(code) & (TORCH | {"polars", "matplotlib", "bm25s", "numpy"}) == set()


@pytest.mark.parametrize(
    "code",
    [
        "import gloss.experiment.pipeline",
        "import gloss.experiment.stages",
        "import gloss.decoding.generator",
        "import gloss.testing.generators, gloss.testing.retrievers, gloss.testing.tiny_model",
        "from gloss.data.generations import read_generations",
        "from gloss.retrieval.index import load_index",
        "from gloss.report.page import render_reports",
    ],
)
def test_what_needs_no_model_needs_no_torch(code):
    assert loaded_by(code) & TORCH == set()


def test_contract_tests_are_imported_without_pytest():
    code = "import gloss.testing.generators, gloss.testing.retrievers, gloss.testing.tiny_model"
    assert "pytest" not in loaded_by(code)


def loaded_by(code: str) -> set[str]:
    """The packages that a fresh Python has loaded after running this."""
    said = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('LOADED', *sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )
    names = said.stdout.rpartition("LOADED")[2].split()
    return {name.split(".")[0] for name in names}
