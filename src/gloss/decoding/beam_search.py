"""Beam search with tree attention, over any causal language model of transformers.

`generate` copies the prompt's keys and values once a beam, and reorders them at every step. Here a
prompt is read once, and the beams of a user are several query positions of *one* row: they share
the position number, and a mask lets each attend to its prompt and its own ancestors,

    out_b = Σ_e softmax_e(q_b · k_e / sqrt(d)) v_e    over e in prompt ∪ ancestors(b) ∪ {b}.

The cache of keys and values only grows; what `generate` does by copying it is done here by
gathering a small table of ancestors (`lineage.py`). SpecInfer (Miao et al. 2024) and Medusa (Cai et
al. 2024) verify trees of guessed tokens with such masks; here the tree is that of the beams.

In fp32 tokens and scores equal those of `generate`. With a trie, beams stay inside it: tokens that
no title continues with get probability zero, and nothing is renormalised, so that the score of a
title is its probability under the model.

Knows token ids only; knows no text and no users' names.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from gloss.decoding.beam_loop import NextTokens, search_beams
from gloss.decoding.beams import BeamSettings, BeamState
from gloss.decoding.lineage import ancestor_mask, extended
from gloss.decoding.search import OnFinished, SearchResults, steps_of
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import ConfigError

__all__ = [
    "additive_mask",
    "beam_search",
    "cache_argument",
    "left_padded",
    "read_logits",
    "require_full_attention",
]


def beam_search(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: BeamSettings,
    *,
    trie: TitleTrie | None = None,
    on_finished: OnFinished | None = None,
) -> SearchResults:
    """The best continuations of each prompt, best first.

    prompts: token ids, one sequence a user, of any lengths (cheapest when similar). With a trie,
    the trie's depth takes the place of `max_new_tokens`, and fewer than `returned` may come back.
    Raises ConfigError for a model whose attention cannot look at the whole context.
    """
    require_full_attention(model, max(map(len, prompts)) + steps_of(settings, trie))
    reader = _TreeReader(model, prompts, settings.beams, trie)
    return search_beams(reader, len(prompts), settings, trie=trie, on_finished=on_finished)


class _TreeReader:
    """The model's side: what has been read, and the log-probabilities of what may come next."""

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], beams: int, trie: TitleTrie | None
    ) -> None:
        self.model, self.trie = model, trie
        self.device = model.device
        self.cache = DynamicCache()
        self.cache_name = cache_argument(model)
        self.beams = beams
        self.tokens, self.in_prompt = left_padded(prompts, self.device)  # (users, longest)
        self.lengths = self.in_prompt.sum(1, keepdim=True)  # (users, 1)
        # (users, beams, steps): see lineage.py.
        self.ancestors = torch.empty(len(prompts), beams, 0, dtype=torch.long, device=self.device)

    def read_prompts(self, state: BeamState) -> NextTokens:
        """See `Reader.read_prompts`; each prompt is read once."""
        positions = (self.in_prompt.cumsum(1) - 1).clamp_min(0)
        log_probs = self._forward(self.tokens, positions, self.in_prompt, last_only=True)
        return self._best(state, log_probs)

    def read_beams(self, state: BeamState, parents: torch.Tensor) -> NextTokens:
        """See `Reader.read_beams`; one token a beam, each after its parent."""
        step = self.ancestors.shape[2]
        self.ancestors = extended(self.ancestors, parents)
        positions = (self.lengths + step).expand(-1, self.beams)  # the same for all beams
        tokens = state.running[:, :, step]
        return self._best(state, self._forward(tokens, positions, self._mask(), last_only=False))

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these users only."""
        self.cache.batch_select_indices(rows)
        self.in_prompt, self.lengths = self.in_prompt[rows], self.lengths[rows]
        self.ancestors = self.ancestors[rows]

    def _best(self, state: BeamState, log_probs: torch.Tensor) -> NextTokens:
        """The best of log_probs, (users, rows, vocabulary), rows beams or 1; with a trie, inside
        it."""
        if self.trie is not None:
            log_probs = _inside(self.trie, state.nodes[:, : log_probs.shape[1]], log_probs)
        return NextTokens(*log_probs.topk(min(2 * self.beams, log_probs.shape[2])))

    def _mask(self) -> torch.Tensor:
        """(users, 1, beams, longest + steps * beams), to be added to the scores."""
        prompt = self.in_prompt[:, None].expand(-1, self.beams, -1)
        attends = torch.cat([prompt, ancestor_mask(self.ancestors)], dim=2)
        return additive_mask(attends, self.model.dtype)

    def _forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, *, last_only: bool
    ) -> torch.Tensor:
        cache = {self.cache_name: self.cache}
        logits = read_logits(self.model, tokens, positions, mask, cache, keep=1 if last_only else 0)
        return logits.log_softmax(-1)


def additive_mask(attends: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(users, 1, queries, keys) of what each query attends to, (users, queries, keys).

    0 where it attends, the lowest number elsewhere: attention that is not fused adds the mask, and
    would take a mask of booleans for ones and zeros.

    >>> additive_mask(torch.tensor([[[True, False]]]), torch.float16).tolist()
    [[[[0.0, -65504.0]]]]
    """
    mask = torch.zeros(attends.shape, dtype=dtype, device=attends.device)
    return mask.masked_fill_(~attends, torch.finfo(dtype).min)[:, None]


def read_logits(
    model: Any,
    tokens: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor,
    cache: dict[str, Any],
    *,
    keep: int,
) -> torch.Tensor:
    """Read tokens into a cache, named as the model names it; float32 logits of the last `keep`.

    tokens, positions: (users, tokens); keep 0: logits of all tokens.
    """
    out = model(
        input_ids=tokens,
        position_ids=positions,
        attention_mask=mask,
        use_cache=True,
        logits_to_keep=keep,
        **cache,
    )
    logits: torch.Tensor = out.logits
    return logits.float()


def cache_argument(model: Any) -> str:
    """What a model's forward pass calls its cache: transformers 5.24 gave it a new name."""
    names = inspect.signature(model.forward).parameters
    return "cache" if "cache" in names else "past_key_values"


def _inside(trie: TitleTrie, nodes: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """log_probs with -inf for every token that no title continues with."""
    flat = log_probs.flatten(0, 1)
    rows, tokens = trie.allowed(nodes.flatten())
    inside = torch.full_like(flat, -torch.inf)
    inside[rows, tokens] = flat[rows, tokens]
    return inside.view_as(log_probs)


def left_padded(prompts: Sequence[Sequence[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (users, longest), zero where padded, and the mask of what is real.

    >>> tokens, in_prompt = left_padded([[7, 8, 9], [5]], "cpu")
    >>> tokens.tolist(), in_prompt.int().tolist()
    ([[7, 8, 9], [0, 0, 5]], [[1, 1, 1], [0, 0, 1]])
    """
    longest = max(map(len, prompts))
    tokens = torch.zeros(len(prompts), longest, dtype=torch.long)
    in_prompt = torch.zeros(len(prompts), longest, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        in_prompt[row, longest - len(prompt) :] = True
    return tokens.to(device), in_prompt.to(device)


def require_full_attention(model: Any, length: int) -> None:
    """Raise ConfigError for a sliding window narrower than the context.

    Positions in a window would be counted over beams here, and over tokens in `generate`.
    """
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    if window is not None and window < length:
        raise ConfigError(
            f"this model looks back {window} tokens only, the context holds {length}: "
            "tree attention needs full attention; use shorter prompts"
        )
