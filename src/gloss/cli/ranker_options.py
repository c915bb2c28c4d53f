"""The options of `gloss baseline`, as each ranker understands them.

Which of them mean something to a ranker follows from what its spec needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gloss.cli.options import given
from gloss.errors import ConfigError

if TYPE_CHECKING:
    from gloss.config import Settings
    from gloss.evaluation.protocol import EvaluationProtocol
    from gloss.progress import Progress
    from gloss.rankers.ranker import RankerSpec
    from gloss.rankers.sources import RankerSources
    from gloss.retrieval.settings import IndexSettings

__all__ = ["is_trained", "options_of", "settings_of", "sources_of"]

_FOR_NEEDS = {
    "items": ("index",),
    "index": ("index", "retriever", "encoder"),
    "title-vectors": ("index",),
    "encoder": ("encoder",),
}
"""The options that say where what a ranker needs is found."""


def settings_of(spec: RankerSpec[Any], *, has_index: bool) -> Settings:
    """The ranker's own defaults; without title vectors where there are none."""
    settings: Settings = spec.settings()
    if "title-vectors" in spec.all_needs(settings) and not has_index:
        settings = spec.without_vectors or settings
    return settings


def options_of(spec: RankerSpec[Any]) -> set[str]:
    """The options that mean something to a ranker."""
    needs = spec.all_needs(spec.settings())
    options = {option for need in needs for option in _FOR_NEEDS[need]}
    return options | ({"trained", "seed"} if spec.training else set())


def sources_of(
    spec: RankerSpec[Any],
    settings: Settings,
    data: Path,
    protocol: EvaluationProtocol,
    typed: dict[str, Any],
    trained: Path,
    progress: Progress,
) -> RankerSources:
    """What a ranker is made from; trained: where its training is, or will be."""
    from gloss.data.dataset import Dataset
    from gloss.rankers.sources import RankerSources
    from gloss.retrieval.settings import ENCODER

    needs = spec.all_needs(settings)
    index, retriever, encoder = (typed.get(key) for key in ("index", "retriever", "encoder"))
    return RankerSources(
        Dataset.load(data),
        protocol.title_style,
        index=index if needs & {"items", "index"} else None,
        index_settings=(
            _index_settings(protocol, index, retriever, encoder) if "index" in needs else None
        ),
        vectors=index,
        encoder=(encoder if "encoder" in needs else None) or ENCODER,
        trained={spec.name: trained},
        progress=progress,
    )


def _index_settings(
    protocol: EvaluationProtocol,
    index: Path | None,
    retriever: str | None,
    encoder: str | None,
) -> IndexSettings:
    """How to search where no index is given."""
    from gloss.retrieval.specs import retriever_named

    if index and (retriever or encoder):
        raise ConfigError("--index says how to search: leave out --retriever and --encoder")
    kind = retriever or "bm25"
    known = retriever_named(kind).settings.model_fields
    return protocol.index_settings(kind, **given(f"--retriever {kind}", known, encoder=encoder))


def is_trained(folder: Path | None, seed: int | None) -> bool:
    """Whether a folder was named that holds what was trained before, and is used as it is."""
    from gloss.artifacts import MANIFEST

    if folder is None or not (folder / MANIFEST).is_file():
        return False
    if seed is not None:
        raise ConfigError(f"{folder} is trained already: leave out --seed, or name a new folder")
    return True
