"""The two ways of measuring, by name: PAPER does what the published system does, FAIR what we hold
to be right. Each line in which they differ is a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, did_you_mean
from gloss.retrieval.retriever import ENCODER, IndexSettings, RetrieverName

__all__ = [
    "FAIR",
    "PAPER",
    "PROTOCOLS",
    "EvaluationProtocol",
    "protocol_named",
    "require_measurable",
]


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """How titles become lists, and how lists are measured.

    title_style, marker, exact_first, prefixes: how the index is made (retrieval/retriever.py).
    per_query: items taken for each generated title.
    fusion: how the items of several titles are joined (retrieval/grounding.py); None: as the
    published system does for each retriever, see `fusion_of`.
    length: items in a list, at most.
    exclude_seen: whether items that were already bought are left out.
    cutoffs: where the lists are cut for the metrics.
    """

    name: str
    title_style: TitleStyle
    marker: bool
    exact_first: bool
    prefixes: bool
    per_query: int
    fusion: str | None
    length: int
    exclude_seen: bool
    cutoffs: tuple[int, ...]

    def index_settings(
        self, retriever: RetrieverName = "bm25", *, encoder: str = ENCODER
    ) -> IndexSettings:
        """The index that this protocol searches."""
        return IndexSettings(
            title_style=self.title_style,
            marker=self.marker,
            exact_first=self.exact_first,
            prefixes=self.prefixes,
            retriever=retriever,
            encoder=encoder,
        )

    def fusion_of(self, retriever: RetrieverName) -> str:
        """The rule that joins what a retriever finds."""
        return self.fusion or ("last" if retriever == "dense" else "best-score")


PAPER = EvaluationProtocol(
    name="paper",
    title_style="paper",
    marker=True,
    exact_first=False,
    prefixes=False,
    per_query=1,
    fusion=None,
    length=5,
    exclude_seen=False,
    cutoffs=(5,),
)
"""GLoSS, arXiv 2506.01910 and its research repository."""

FAIR = EvaluationProtocol(
    name="fair",
    title_style="fair",
    marker=False,
    exact_first=True,
    prefixes=True,
    per_query=20,
    fusion="beam-order",
    length=20,
    exclude_seen=True,
    cutoffs=(1, 5, 10, 20),
)
"""What we recommend: lists of full length, without what the user already has."""

PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, FAIR)}


def protocol_named(name: str) -> EvaluationProtocol:
    """The protocol of that name; ConfigError, naming the nearest, if there is none."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    raise ConfigError(f"unknown protocol {name!r} ({did_you_mean(name, PROTOCOLS)})")


def require_measurable(cutoffs: Sequence[int], *, length: int) -> None:
    """Raise ConfigError if lists of at most `length` items are shorter than a cutoff."""
    if max(cutoffs) > length:
        raise ConfigError(
            f"lists of at most {length} items cannot be measured at {max(cutoffs)}: "
            "rank longer lists or choose other cutoffs"
        )
