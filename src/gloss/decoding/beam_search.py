"""Beam search without copies ("tree attention"), over any causal language model of transformers.

A prompt is read once, not once a beam. After that the beams of a user are several query positions
of *one* row: they share the position number, and a mask lets each see its prompt and its own
ancestors. The cache of keys and values only grows; nothing in it is reordered or copied. What
`generate` does by copying the cache is done here by gathering a small table of ancestors.

In fp32 tokens and scores equal those of `generate`. With a trie, beams stay inside it: tokens that
no title continues with get probability zero, and nothing is renormalised, so the score of a title
is its probability under the model.

Knows token ids only; knows no text and no users' names.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from gloss.decoding.beams import (
    BeamSettings,
    BeamState,
    Candidates,
    Hypothesis,
    advance,
    best_candidates,
)
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import ConfigError

__all__ = [
    "BeamSettings",
    "Hypothesis",
    "beam_search",
    "cache_argument",
    "left_padded",
    "require_full_attention",
]


@torch.inference_mode()
def beam_search(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: BeamSettings,
    *,
    trie: TitleTrie | None = None,
) -> list[tuple[Hypothesis, ...]]:
    """The best continuations of each prompt, best first.

    prompts: token ids, one sequence a user, of any lengths (cheapest when similar). With a trie,
    the trie's depth takes the place of `max_new_tokens`, and fewer than `returned` may come back.
    Raises ConfigError for a model whose attention cannot look at the whole context.
    """
    steps = trie.depth if trie else settings.max_new_tokens
    require_full_attention(model, max(map(len, prompts)) + steps)
    feed = _Feed(model, prompts, settings.beams)
    state = BeamState.begin(len(prompts), settings, steps=steps, device=feed.device)
    found: list[tuple[Hypothesis, ...]] = [()] * len(prompts)
    users = torch.arange(len(prompts), device=feed.device)
    log_probs = feed.read_prompts()
    for step in range(steps):
        best = _candidates(state, settings, log_probs, trie)
        state, parents = advance(state, best, settings, cut_off=trie is None)
        going_on = state.improvable if step + 1 < steps else torch.zeros_like(state.improvable)
        # Rows that are done only cost; they leave once they are half of the batch.
        if 2 * int(going_on.sum()) <= len(users):
            leaving = state.select(~going_on).hypotheses(settings)
            for user, hypotheses in zip(users[~going_on].tolist(), leaving, strict=True):
                found[user] = hypotheses
            stay = going_on.nonzero().flatten()
            if not len(stay):
                break
            users, parents, state = users[stay], parents[stay], state.select(stay)
            feed.keep(stay)
        log_probs = feed.read_tokens(state.running[:, :, step], parents)
    return found


class _Feed:
    """The model's side: what has been read, and the log-probabilities of what may come next."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], beams: int) -> None:
        self.model = model
        self.device = model.device
        self.cache = DynamicCache()
        self.cache_name = cache_argument(model)
        self.beams = beams
        self.tokens, self.seen = left_padded(prompts, self.device)
        self.lengths = self.seen.sum(1, keepdim=True)
        # ancestors[u, b, s]: which place of step s beam b of user u descends from.
        self.ancestors = torch.empty(len(prompts), beams, 0, dtype=torch.long, device=self.device)

    def read_prompts(self) -> torch.Tensor:
        """Read every prompt once: (users, 1, vocabulary)."""
        positions = (self.seen.cumsum(1) - 1).clamp_min(0)
        return self._forward(self.tokens, positions, self.seen, last_only=True)

    def read_tokens(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Read one token a beam, each after its parent: (users, beams, vocabulary)."""
        step = self.ancestors.shape[2]
        lineage = self.ancestors.gather(1, parents[:, :, None].expand(-1, -1, step))
        own = torch.arange(self.beams, device=self.device).expand(len(tokens), -1)
        self.ancestors = torch.cat([lineage, own[:, :, None]], dim=2)
        positions = (self.lengths + step).expand(-1, self.beams)
        return self._forward(tokens, positions, self._mask(), last_only=False)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these users only."""
        self.cache.batch_select_indices(rows)
        self.seen, self.lengths = self.seen[rows], self.lengths[rows]
        self.ancestors = self.ancestors[rows]

    def _mask(self) -> torch.Tensor:
        """(users, 1, beams, prompt + steps * beams): a beam sees its prompt and its ancestors."""
        users = len(self.ancestors)
        places = torch.arange(self.beams, device=self.device)
        lineage = (self.ancestors[..., None] == places).view(users, self.beams, -1)
        prompt = self.seen[:, None].expand(-1, self.beams, -1)
        return added_mask(torch.cat([prompt, lineage], dim=2), self.model.dtype)

    def _forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, *, last_only: bool
    ) -> torch.Tensor:
        cache = {self.cache_name: self.cache}
        logits = read_logits(self.model, tokens, positions, mask, cache, keep=1 if last_only else 0)
        return logits.log_softmax(-1)


def added_mask(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(users, 1, queries, keys) of what each query looks at, (users, queries, keys).

    0 where it looks, the lowest number elsewhere: attention that is not fused adds the mask, and
    would take a mask of booleans for ones and zeros.
    """
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def read_logits(
    model: Any,
    tokens: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor,
    cache: dict[str, Any],
    *,
    keep: int,
) -> torch.Tensor:
    """Read tokens into a cache, named as the model names it; logits of the last `keep` tokens (0:
    of all), float32."""
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


def _candidates(
    state: BeamState, settings: BeamSettings, log_probs: torch.Tensor, trie: TitleTrie | None
) -> Candidates:
    """The best continuations out of whole rows of log-probabilities (users, rows, vocabulary)."""
    rows = log_probs.shape[1]
    if trie is not None:
        log_probs = _inside(trie, state.nodes[:, :rows], log_probs)
    best, tokens = log_probs.topk(min(2 * settings.beams, log_probs.shape[2]))
    nodes = state.nodes[:, :rows, None].expand_as(tokens)
    if trie is not None:
        nodes = trie.step(nodes, tokens)
    return best_candidates(state, settings, best, tokens, nodes)


def _inside(trie: TitleTrie, nodes: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """log_probs with -inf for every token that no title continues with."""
    flat = log_probs.flatten(0, 1)
    rows, tokens = trie.allowed(nodes.flatten())
    inside = torch.full_like(flat, -torch.inf)
    inside[rows, tokens] = flat[rows, tokens]
    return inside.view_as(log_probs)


def left_padded(prompts: Sequence[Sequence[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (users, longest), zero where padded, and the mask of what is real."""
    longest = max(map(len, prompts))
    tokens = torch.zeros(len(prompts), longest, dtype=torch.long)
    seen = torch.zeros(len(prompts), longest, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        seen[row, longest - len(prompt) :] = True
    return tokens.to(device), seen.to(device)


def require_full_attention(model: Any, length: int) -> None:
    """A sliding window narrower than the context would see other tokens here than in `generate`."""
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    if window is not None and window < length:
        raise ConfigError(
            f"this model looks back {window} tokens only, the context holds {length}: "
            "tree attention needs full attention; use shorter prompts"
        )
