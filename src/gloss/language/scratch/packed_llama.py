"""A Llama that reads packs: a transformers model's own weights and layers, without a padded token.

Llama knows dropout in its attention weights only. Here it comes after the embedding and after every
attention and MLP block too, as in the first Transformer; what is saved stays an ordinary Llama.

Knows packs and weights; what is learned from them is the training's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from gloss.language.packed_attention import set_packed_attention
from gloss.language.packing import NO_LOSS, Pack

__all__ = ["PackedLlama", "on_device", "use_packed_attention"]


class PackedLlama:
    """Losses of packs.

    dropout, r_drop: used while the model is in training mode; compiled: for packs that all have the
    same number of tokens.

    With r_drop = α > 0, each pack is read twice with different dropout, which gives two predictions
    p and q of every target (R-Drop: Liang et al., NeurIPS 2021, arXiv 2106.14448):

        loss = cross-entropy over both readings + α · mean over targets of ½ (KL(p‖q) + KL(q‖p))
    """

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
        """Cross-entropy of the targets in nats, (): their mean, or their "sum"; in training mode
        with R-Drop's part. Needs `use_packed_attention`."""
        arrays = (pack.tokens, pack.positions, pack.targets, pack.bounds)
        tensors = [on_device(self.model.device, array) for array in arrays]
        return self.loss_of(*tensors, reduction=reduction)

    def loss_of(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        targets: torch.Tensor,
        bounds: torch.Tensor,
        *,
        reduction: str = "mean",
    ) -> torch.Tensor:
        """`loss` of a pack whose arrays are on the model's device already."""
        r_drop = self.r_drop if self.model.training else 0.0
        if r_drop:
            # The second reading is a second copy of every document in the same pack: bounds
            # 0 3 5 become 0 3 5 8 10.
            tokens, positions, targets = (part.repeat(2) for part in (tokens, positions, targets))
            bounds = torch.cat([bounds, bounds[1:] + bounds[-1]])
        if self._compiled:
            # The number of documents differs from pack to pack.
            torch._dynamo.mark_dynamic(bounds, 0)
        with _half_precision(tokens.device):
            hidden = self._hidden(tokens[None], positions[None], bounds)
            return self._loss(self.model.lm_head, hidden[0], targets, reduction, r_drop)

    def _hidden(
        self, tokens: torch.Tensor, positions: torch.Tensor, bounds: torch.Tensor
    ) -> torch.Tensor:
        """After the last norm, (1, tokens, width). tokens, positions: (1, tokens)."""
        decoder = self.model.model
        dropout = self.dropout if self.model.training else 0.0
        hidden = functional.dropout(decoder.embed_tokens(tokens), dropout)  # (1, tokens, width)
        if torch.is_autocast_enabled(hidden.device.type):
            # Autocast leaves embeddings in fp32, and every addition after them would be as well.
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        cos_sin = decoder.rotary_emb(hidden, positions)  # 2 x (1, tokens, head)
        longest = self.model.config.max_position_embeddings
        for layer in decoder.layers:
            hidden = self._block(layer, hidden, cos_sin, bounds, longest, dropout)
        normed: torch.Tensor = decoder.norm(hidden)
        return normed


@contextmanager
def use_packed_attention(model: Any) -> Iterator[None]:
    """While this lasts, the model's attention stays inside each document of a pack."""
    before = model.config._attn_implementation
    set_packed_attention(model)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def on_device(device: torch.device, array: np.ndarray) -> torch.Tensor:
    """The array on a device, copied while that works."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _block(
    layer: Any,
    hidden: torch.Tensor,
    cos_sin: tuple[torch.Tensor, torch.Tensor],
    bounds: torch.Tensor,
    longest: int,
    dropout: float,
) -> torch.Tensor:
    """One layer: hidden (1, tokens, width) in and out."""
    attention_out, _ = layer.self_attn(
        layer.input_layernorm(hidden),
        position_embeddings=cos_sin,
        attention_mask=None,
        cu_seq_lens_q=bounds,
        max_length_q=longest,
    )
    hidden = hidden + functional.dropout(attention_out, dropout)
    mlp_out = layer.mlp(layer.post_attention_layernorm(hidden))
    return hidden + functional.dropout(mlp_out, dropout)


def _loss(
    head: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    targets: torch.Tensor,
    reduction: str,
    r_drop: float,
) -> torch.Tensor:
    """hidden (tokens, width), targets (tokens,) -> (); with r_drop, of two readings one after the
    other."""
    logits = head(hidden).float()  # (tokens, vocabulary)
    loss = functional.cross_entropy(logits, targets, ignore_index=NO_LOSS, reduction=reduction)
    if not r_drop:
        return loss
    log_p, log_q = functional.log_softmax(logits, dim=-1).chunk(2)  # (tokens / 2, vocabulary) each
    # ½ (KL(p‖q) + KL(q‖p)) = ½ Σ (p - q) (log p - log q), for each token
    divergence = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=-1) / 2
    is_target = targets.chunk(2)[0] != NO_LOSS
    divergence = torch.where(is_target, divergence, 0.0).sum()
    return loss + r_drop * (divergence / is_target.sum() if reduction == "mean" else divergence)


def _half_precision(device: torch.device) -> AbstractContextManager[Any]:
    # bf16 is emulated on most CPUs, tens of times slower than fp32.
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
