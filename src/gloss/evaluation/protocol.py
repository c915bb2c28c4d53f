"""The two ways of measuring, by name: PAPER does what the published system does, FAIR what we hold
to be right. Each line in which they differ is a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gloss.choices import ProtocolName
from gloss.config import TitleFusion
from gloss.data.repeats import RepeatedAnswers
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, named
from gloss.retrieval.settings import PROTOCOL_SETTINGS, IndexSettings
from gloss.retrieval.specs import retriever_named

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

    title_style, marker, exact_first, popular_first, prefixes: how an index is made
    (retrieval/settings.py). fills_up: whether popular items end a list that is too short. The other
    fields are those of the configuration's `ranking` section (`config.Ranking`); fusion None:
    as the published system does for each retriever, see `fusion_of`. follows_data: whether
    `exclude_seen` gives way to data in which people buy again what they had.
    """

    name: ProtocolName
    title_style: TitleStyle
    marker: bool
    exact_first: bool
    popular_first: bool
    prefixes: bool
    per_query: int
    fusion: TitleFusion | None
    length: int
    exclude_seen: bool
    fills_up: bool
    cutoffs: tuple[int, ...]
    follows_data: bool = False

    def index_settings(self, retriever: str = "bm25", **chosen: Any) -> IndexSettings:
        """The index of this protocol, with the settings that were chosen instead of its own.

        Raises ConfigError for an unknown retriever and for a setting that it does not read.

        >>> PAPER.index_settings("dense", encoder="e5-base-v2").prefixes
        False
        """
        settings = retriever_named(retriever).settings
        for name in chosen:
            if name not in settings.model_fields:
                raise ConfigError(f"index.{name} means nothing to the retriever {retriever!r}")
        own = {n: getattr(self, n) for n in PROTOCOL_SETTINGS if n in settings.model_fields}
        made: IndexSettings = settings.model_validate({**own, **chosen})
        return made

    def on(self, repeats: RepeatedAnswers) -> EvaluationProtocol:
        """The protocol for data whose answers repeat so often.

        >>> FAIR.on(RepeatedAnswers(answers=100, repeated=40)).exclude_seen
        False
        """
        if self.follows_data and repeats.are_common:
            return replace(self, exclude_seen=False)
        return self

    def fusion_of(self, retriever: str) -> TitleFusion:
        """How the items of several titles that a retriever found are joined."""
        return self.fusion or retriever_named(retriever).published_fusion


PAPER = EvaluationProtocol(
    name="paper",
    title_style="paper",
    marker=True,
    exact_first=False,
    popular_first=False,
    prefixes=False,
    per_query=1,
    fusion=None,
    length=5,
    exclude_seen=False,
    fills_up=False,
    cutoffs=(5,),
)
"""GLoSS, arXiv 2506.01910 and its research repository."""

FAIR = EvaluationProtocol(
    name="fair",
    title_style="fair",
    marker=False,
    exact_first=True,
    popular_first=True,
    prefixes=True,
    per_query=20,
    fusion="beam-order",
    length=20,
    exclude_seen=True,
    fills_up=True,
    cutoffs=(1, 5, 10, 20),
    follows_data=True,
)
"""What we recommend: lists of full length, without what the user already has, unless the data show
that people buy it again."""

PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, FAIR)}


def protocol_named(name: str) -> EvaluationProtocol:
    """The protocol of that name; ConfigError, naming the nearest, if there is none."""
    return named(name, PROTOCOLS.values(), what="protocol")


def require_measurable(cutoffs: Sequence[int], *, length: int) -> None:
    """Raise ConfigError if lists of at most `length` items are shorter than a cutoff."""
    if max(cutoffs) > length:
        raise ConfigError(
            f"lists of at most {length} items cannot be measured at {max(cutoffs)}: "
            "rank longer lists or choose other cutoffs"
        )
