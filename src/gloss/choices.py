"""The words that a setting may hold, where several folders share them."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "Backend",
    "Cut",
    "DecodingMode",
    "Engine",
    "ProtocolName",
    "Quantization",
    "SplitName",
    "SplitRule",
    "TitleStyle",
]

ProtocolName = Literal["fair", "paper"]
"""How is evaluated: as we recommend it, or as the paper did (docs/protocol.md)."""

TitleStyle = Literal["fair", "paper"]
"""How titles are cleaned, by the protocol of that name."""

SplitRule = Literal["paper", "leave-one-out", "none"]
"""Which users train on their second-last purchase: nearly all of them, or nobody. none: everybody
trains on everything, and nobody is asked."""

SplitName = Literal["validation", "test"]
"""The examples that are evaluated."""

DecodingMode = Literal["catalogue", "free", "exact"]
"""What a model may write: titles that exist, any text, or every title that exists, scored."""

Cut = Literal["purchases", "left"]
"""What a prompt that is too long loses: whole oldest purchases, or tokens on the left."""

Quantization = Literal["nf4", "none"]
"""How weights are held: in 4 bits (NF4), or as they are."""

Backend = Literal["transformers", "unsloth"]
"""Who trains an adapter."""

Engine = Literal["gloss", "vllm"]
"""Who computes what a model writes: our own search, or vLLM."""
