"""The words that a setting may hold, where settings, code and command line share them.

Nothing is imported here, so that `gloss --help` can know them without loading the settings.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "Backend",
    "Cut",
    "DecodingMode",
    "ProtocolName",
    "Quantization",
    "RetrieverName",
    "SplitName",
    "SplitRule",
    "TitleFusion",
    "TitleStyle",
]

ProtocolName = Literal["fair", "paper"]
"""How is evaluated: as we recommend it, or as the paper did (docs/protocol.md)."""

TitleStyle = Literal["fair", "paper"]
"""How titles are cleaned, by the protocol of that name."""

SplitRule = Literal["paper", "leave-one-out"]
"""Which users train on their second-last purchase: nearly all of them, or nobody."""

SplitName = Literal["validation", "test"]
"""The examples that are evaluated."""

RetrieverName = Literal["bm25", "dense", "hybrid"]
"""How a catalogue is searched: by words, by meaning, or by both."""

DecodingMode = Literal["catalogue", "free", "exact"]
"""What a model may write: titles that exist, any text, or every title that exists, scored."""

Cut = Literal["purchases", "left"]
"""What a prompt that is too long loses: whole oldest purchases, or tokens on the left."""

Quantization = Literal["nf4", "none"]
"""How weights are held: in 4 bits (NF4), or as they are."""

Backend = Literal["transformers", "unsloth"]
"""Who trains an adapter."""

TitleFusion = Literal["best-score", "last", "beam-order", "rrf"]
"""How the items of one user's titles are joined (retrieval/grounding.py)."""
