"""How bm25s is imported: without JAX.

bm25s.selection imports JAX wherever it is installed and runs a first operation on it, although
GLoSS never uses it. JAX takes 75 % of the memory of every GPU with its first operation, and a
language model that shares the process then runs out of memory.

Environment variables (JAX_PLATFORMS, XLA_PYTHON_CLIENT_PREALLOCATE) would change JAX for everybody
in the process, and so would an entry in `sys.modules`. So JAX is refused to the modules of bm25s
alone: each gets an `__import__` of its own. Whoever uses JAX beside GLoSS notices nothing.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

__all__ = ["import_bm25s"]


def import_bm25s() -> Any:
    """The module `bm25s`; JAX is neither imported nor started for it.

    Where it is used, not where its users are imported: it brings numba and SciPy, half a second
    that most commands need not wait.
    """
    if "bm25s" in sys.modules:  # imported by somebody else, who has decided about JAX
        return sys.modules["bm25s"]
    sys.meta_path.insert(0, _Bm25sFinder)
    try:
        return import_module("bm25s")
    finally:
        sys.meta_path.remove(_Bm25sFinder)


class _Bm25sFinder:
    """Finds the modules of bm25s, and no others."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "bm25s":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _LoaderWithoutJax(spec.loader.name, spec.loader.path)
        return spec


class _LoaderWithoutJax(SourceFileLoader):
    """Runs a module whose import statements do not find JAX."""

    def exec_module(self, module: ModuleType) -> None:
        # An import statement calls the `__import__` of the builtins of the module it stands in.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import_without_jax}
        super().exec_module(module)


def _import_without_jax(name: str, *args: Any, **kwargs: Any) -> ModuleType:
    if name.partition(".")[0] == "jax":
        raise ModuleNotFoundError("GLoSS does not use JAX for bm25s", name=name)
    return builtins.__import__(name, *args, **kwargs)
