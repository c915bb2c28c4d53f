"""Opens a model folder in vLLM: what it runs, and what it is refused for."""

from __future__ import annotations

import json
from pathlib import Path

from gloss.decoding.generator import GeneratorRequest, GeneratorSpec
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.decoding.vllm.engine import VllmEngine
from gloss.decoding.vllm.search import VllmSearch
from gloss.errors import ConfigError
from gloss.language.loading import context_of, without_weights
from gloss.language.lora.adapters import ADAPTER_CONFIG

__all__ = ["VLLM"]


def _open(request: GeneratorRequest) -> TransformersGenerator:
    """vLLM reads the weights, and takes the best device there is."""
    _require_supported(request)
    settings = request.settings
    with without_weights(request.model, request.loading) as (language, weights):
        engine = VllmEngine(
            weights.model,
            adapter=weights.adapter,
            rank=_rank(weights.adapter),
            context=context_of(language),
            beams=settings.beams,
        )
    return TransformersGenerator(
        language,
        settings,
        request.catalogue,
        make_search=lambda beams, trie: VllmSearch(
            engine, beams, trie, entries=settings.batch_tokens
        ),
    )


def _require_supported(request: GeneratorRequest) -> None:
    """Raise ConfigError for what our own search does and vLLM cannot."""
    for asked, what in (
        (request.settings.mode == "exact", "scores no catalogue (--decoding exact)"),
        (request.loading.quantization != "none", "loads no weights in 4 bits (--quantization)"),
        ((request.model / "network-1").is_dir(), "runs one network, this model has several"),
    ):
        if asked:
            raise ConfigError(f"vLLM {what}: leave out --engine vllm")


def _rank(adapter: Path | None) -> int:
    """The rank of an adapter's matrices; 0 without one."""
    if adapter is None:
        return 0
    config = json.loads((adapter / ADAPTER_CONFIG).read_bytes())
    return max([int(config.get("r", 1)), *map(int, (config.get("rank_pattern") or {}).values())])


VLLM = GeneratorSpec(serves=lambda request: request.loading.engine == "vllm", open=_open)
