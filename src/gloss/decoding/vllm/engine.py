"""vLLM's offline engine, in this process, as what a beam search asks of a model.

vLLM reads its own settings from the environment; those that this use of it needs are set before it
is imported, if nobody has set them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gloss.errors import InputError, reason_of, require_extra

__all__ = ["ALLOWED", "VllmEngine"]

ALLOWED = "gloss_allowed"
"""The name in a request's `extra_args` of the tokens that may follow; without it, all may."""

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine ends with this process
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the second runner takes no logits processors
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The largest ranks of an adapter that vLLM can be built for."""


class VllmEngine:
    """A model in vLLM, with an adapter or without.

    model, adapter: folders. context: tokens of prompt and answer at most; beams: of the search,
    which asks for twice as many tokens. Raises InputError if vLLM cannot load them.
    """

    def __init__(
        self, model: Path, *, adapter: Path | None, rank: int, context: int, beams: int
    ) -> None:
        require_extra("decoding by vLLM", "vllm", "vllm")
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            self.llm = _opened(model, _settings(context, beams) | _lora_settings(adapter, rank))
            self.adapter = _with_adapter(self.llm, adapter)
        except Exception as error:  # vLLM, torch and transformers raise errors of their own
            raise InputError(f"vLLM cannot load {adapter or model}: {reason_of(error)}") from error

    def cache_entries(self) -> int:
        """Tokens whose keys and values it holds at once."""
        cache = self.llm.llm_engine.vllm_config.cache_config
        return int(cache.num_gpu_blocks) * int(cache.block_size)

    def next_tokens(
        self, texts: Sequence[list[int]], allowed: Sequence[list[int]] | None, width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and ids of the best next tokens of each text of token ids, best first:
        (texts, width) each, -inf where there are fewer.

        allowed: the ids that may follow each; None if all may.
        """
        from vllm import SamplingParams

        bounds = allowed if allowed is not None else [None] * len(texts)
        params = [
            SamplingParams(
                temperature=0.0,
                max_tokens=1,
                logprobs=width,
                ignore_eos=True,
                detokenize=False,
                extra_args=None if tokens is None else {ALLOWED: tokens},
            )
            for tokens in bounds
        ]
        outputs = self.llm.generate(
            [{"prompt_token_ids": text} for text in texts],
            params,
            use_tqdm=False,
            lora_request=self.adapter,
        )
        best = [_best(output.outputs[0].logprobs[0], width) for output in outputs]
        return (
            torch.tensor([[logprob for logprob, _ in row] for row in best]),
            torch.tensor([[token for _, token in row] for row in best]),
        )


def _best(logprobs: dict[int, Any], width: int) -> list[tuple[float, int]]:
    """The best of what vLLM tells: the chosen token beside `width` others, in no promised order,
    with -inf for those that are not allowed."""
    found = [(entry.logprob, token) for token, entry in logprobs.items()]
    best = sorted(found, key=lambda each: (-each[0], each[1]))[:width]
    return best + [(-torch.inf, 0)] * (width - len(best))


def _settings(context: int, beams: int) -> dict[str, Any]:
    on_gpu = torch.cuda.is_available()
    return {
        "max_model_len": context,
        "max_logprobs": 2 * beams,
        "logprobs_mode": "processed_logits",
        "logits_processors": ["gloss.decoding.vllm.allowed_tokens:AllowedTokens"],
        "enable_prefix_caching": True,
        "skip_tokenizer_init": True,  # tokens come and go
        "dtype": "bfloat16" if on_gpu else "float32",
        "enforce_eager": not on_gpu,  # a compilation takes longer than what it saves on a CPU
        "disable_log_stats": True,
    }


def _lora_settings(adapter: Path | None, rank: int) -> dict[str, Any]:
    if adapter is None:
        return {}
    largest = next((each for each in _LORA_RANKS if each >= rank), rank)
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": largest}


def _opened(model: Path, settings: dict[str, Any]) -> Any:
    from vllm import LLM

    return LLM(model=str(model), **settings)


def _with_adapter(llm: Any, adapter: Path | None) -> Any:
    """What a request names its adapter by; its weights are read now, while the folder stands."""
    if adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    request = LoRARequest("gloss", 1, str(adapter))
    llm.llm_engine.add_lora(request)
    return request
