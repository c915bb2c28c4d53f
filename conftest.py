"""What pytest passes over when it runs the examples of docstrings (`--doctest-modules`)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

# These import, at their top, a package that not every machine has: without it they cannot be read.
_NEEDED = {
    "src/gloss/decoding/cuda": "triton",
    "src/gloss/decoding/vllm/allowed_tokens.py": "vllm",
    "src/gloss/retrieval/lexical/bm25_kernel.py": "numba",
    "src/gloss/serving": "fastapi",
    "src/gloss/serving/mcp_tools.py": "mcp",
}

for place in _NEEDED:
    if not (Path(__file__).parent / place).exists():
        raise FileNotFoundError(f"{place} has moved: name its new place in {__file__}")

_ONLY_ALEMBIC_IMPORTS = "src/gloss/serving/state/migrations/env.py"

missing = [place for place, package in _NEEDED.items() if find_spec(package) is None]
collect_ignore = [*missing, _ONLY_ALEMBIC_IMPORTS]
