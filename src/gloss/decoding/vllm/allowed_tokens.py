"""Inside vLLM: the log-probabilities of the tokens that a request allows, and -inf for all others.

vLLM tells the best k tokens of a request either before its own masks, where those of the catalogue
may be missing, or after them and renormalised. Here the logits become log-probabilities over the
whole vocabulary first, and are masked then: what is told with `logprobs_mode="processed_logits"` is
the probability under the model, however many tokens are allowed.

vLLM loads it by its name, in the process of the model; nothing else imports it.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from gloss.decoding.vllm.engine import ALLOWED

__all__ = ["AllowedTokens"]


class AllowedTokens(LogitsProcessor):  # type: ignore[misc]
    """Turns logits into the log-probabilities of what each request of a batch allows."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self.device = device
        self.allowed: dict[int, list[int]] = {}  # of each row of the batch that allows not all
        self._set_pairs()

    def is_argmax_invariant(self) -> bool:
        """What is not allowed is never chosen."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests that enter, leave and change their rows."""
        if process_dict_updates(self.allowed, batch_update, _allowed_by):
            self._set_pairs()

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """(requests, vocabulary) logits to log-probabilities."""
        log_probs = logits.log_softmax(-1)
        if not self.allowed:
            return log_probs
        inside = log_probs[self.pairs]
        log_probs[self.bounded] = -torch.inf
        log_probs[self.pairs] = inside
        return log_probs

    def _set_pairs(self) -> None:
        """bounded: (n,) the rows that allow not all; pairs: the rows and tokens that are allowed.

        Row 0 allows 7 and 9, row 2 only 8: bounded 0 2, pairs 0 0 2 and 7 9 8.
        """
        rows = [row for row, tokens in self.allowed.items() for _ in tokens]
        tokens = [token for tokens in self.allowed.values() for token in tokens]
        self.bounded = self._indices([*self.allowed])
        self.pairs = (self._indices(rows), self._indices(tokens))

    def _indices(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long).to(self.device)


def _allowed_by(params: Any, _prompt: Any, _output: Any) -> list[int] | None:
    return (params.extra_args or {}).get(ALLOWED)
