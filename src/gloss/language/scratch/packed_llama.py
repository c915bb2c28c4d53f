"""A Llama that reads packed documents: its own weights and layers, without a padded token.

Llama knows dropout in its attention weights only; here it comes after the embedding and after every
attention and MLP block too, and what is saved stays an ordinary Llama.

Knows packs and weights; what to learn from them is the training loop's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from gloss.language.packing import NO_LOSS, PACKED_ATTENTION, Pack

__all__ = ["PackedLlama", "attending_to_packs", "on_device"]


class PackedLlama:
    """Losses of packs. dropout: used while the model is in training mode; r_drop: how much it
    counts there that two readings with different dropout agree (R-Drop: Liang et al., NeurIPS
    2021); compiled: for packs that all have the same number of tokens."""

    def __init__(
        self,
        model: Any,
        *,
        dropout: float = 0.0,
        r_drop: float = 0.0,
        compiled: bool = False,
    ) -> None:
        self.model = model
        self.dropout = dropout
        self.r_drop = r_drop
        self._compiled = compiled
        self._block: Callable[..., torch.Tensor] = _block
        self._loss: Callable[..., torch.Tensor] = _loss
        if compiled:  # one compilation serves all layers
            self._block, self._loss = torch.compile(_block), torch.compile(_loss)

    def loss(self, pack: Pack, *, reduction: str = "mean") -> torch.Tensor:
        """Cross-entropy of the targets, in nats: their mean, or their "sum". Needs
        `attending_to_packs`. In training mode, what the two readings disagree is in it."""
        parts = (pack.tokens, pack.positions, pack.targets, pack.bounds)
        inputs = [on_device(self.model.device, values) for values in parts]
        return self.loss_of(*inputs, reduction=reduction)

    def loss_of(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        targets: torch.Tensor,
        bounds: torch.Tensor,
        *,
        reduction: str = "mean",
    ) -> torch.Tensor:
        """The loss of a pack whose parts are on the model's device already."""
        r_drop = self.r_drop if self.model.training else 0.0
        if r_drop:
            tokens, positions, targets = (part.repeat(2) for part in (tokens, positions, targets))
            bounds = torch.cat([bounds, bounds[1:] + bounds[-1]])
        if self._compiled:
            torch._dynamo.mark_dynamic(bounds, 0)
        with _half_precision(tokens.device):
            hidden = self._hidden(tokens[None], positions[None], bounds)
            return self._loss(self.model.lm_head, hidden[0], targets, reduction, r_drop)

    def _hidden(
        self, tokens: torch.Tensor, positions: torch.Tensor, bounds: torch.Tensor
    ) -> torch.Tensor:
        """(1, tokens, width), after the last norm."""
        decoder = self.model.model
        dropout = self.dropout if self.model.training else 0.0
        hidden = functional.dropout(decoder.embed_tokens(tokens), dropout)
        if torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        turns = decoder.rotary_emb(hidden, positions)
        longest = self.model.config.max_position_embeddings
        for layer in decoder.layers:
            hidden = self._block(layer, hidden, turns, bounds, longest, dropout)
        normed: torch.Tensor = decoder.norm(hidden)
        return normed


@contextmanager
def attending_to_packs(model: Any) -> Iterator[None]:
    """Attention stays inside each document of a pack as long as this lasts."""
    before = model.config._attn_implementation
    model.set_attn_implementation(PACKED_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _block(
    layer: Any,
    hidden: torch.Tensor,
    turns: tuple[torch.Tensor, torch.Tensor],
    bounds: torch.Tensor,
    longest: int,
    dropout: float,
) -> torch.Tensor:
    """One layer; turns: of the rotary embedding, cosine and sine."""
    seen, _ = layer.self_attn(
        layer.input_layernorm(hidden),
        position_embeddings=turns,
        attention_mask=None,
        cu_seq_lens_q=bounds,
        max_length_q=longest,
    )
    hidden = hidden + functional.dropout(seen, dropout)
    thought = layer.mlp(layer.post_attention_layernorm(hidden))
    return hidden + functional.dropout(thought, dropout)


def _loss(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    targets: torch.Tensor,
    reduction: str,
    r_drop: float,
) -> torch.Tensor:
    """hidden: (tokens, width); with r_drop, two readings of the same tokens."""
    logits = head(hidden).float()
    loss = functional.cross_entropy(logits, targets, ignore_index=NO_LOSS, reduction=reduction)
    if not r_drop:
        return loss
    one, other = functional.log_softmax(logits, dim=-1).chunk(2)
    apart = ((one.exp() - other.exp()) * (one - other)).sum(dim=-1) / 2
    counted = targets.chunk(2)[0] != NO_LOSS
    apart = torch.where(counted, apart, 0.0).sum()
    return loss + r_drop * (apart / counted.sum() if reduction == "mean" else apart)


def on_device(device: torch.device, values: np.ndarray) -> torch.Tensor:
    """Values on the device, copied while it works."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _half_precision(device: torch.device) -> AbstractContextManager[Any]:
    # bf16 is emulated on most CPUs, tens of times slower than fp32.
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
