"""The stage `rank`: from generated titles to lists of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Draft, Recipe, fingerprint_of_file, open_artifact
from gloss.choices import SplitName
from gloss.config import TitleFusion
from gloss.data import generations as generated
from gloss.data.dataset import Dataset
from gloss.data.generations import Generation, read_generations, read_research_file
from gloss.data.research_examples import RESEARCH_EXAMPLES, example_lines, require_split
from gloss.errors import ConfigError
from gloss.evaluation.protocol import EvaluationProtocol
from gloss.progress import Progress, silent
from gloss.rankings import files as rankings
from gloss.rankings.filling import by_popularity, continued, filled
from gloss.rankings.ranking import Ranking
from gloss.rankings.records import GroundingSummary, TitleRankingConfig
from gloss.retrieval.grounding import deeper, fuse_all, ground, ungrounded
from gloss.retrieval.grounding import rank as ground_and_fuse
from gloss.retrieval.index import Index, load_index
from gloss.shards import HERE, Workers, in_order, shards_of

__all__ = ["rank"]

_SHARD_USERS = 1 << 13
"""Users of a shard where other processes do the work. Here all are one: a title that several users
are given is searched for once."""


def rank(
    generations: Path,
    index: Path,
    out: Path,
    *,
    protocol: EvaluationProtocol,
    split: SplitName | None = None,
    dataset: Path | None = None,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> Artifact:
    """Find the items that generated titles mean: the ranking at `out`.

    `generations` is our artefact, which knows its split, or the research repository's JSON, which
    is of the test split unless another is said. dataset: what the JSON is held against at once;
    without it, when the ranking is evaluated. workers: who searches; the bytes do not depend on
    how many they are.
    """
    search = _Search(index, protocol)
    found = search.index
    source, split = _generations_source(generations, found.artifact, split)
    if dataset:
        _require_examples(generations, dataset, found.artifact, split)
    config = TitleRankingConfig(
        split=split,
        per_query=protocol.per_query,
        fusion=search.rule,
        length=protocol.length,
        exclude_seen=protocol.exclude_seen,
        fills_up=protocol.fills_up,
        index=found.artifact.config,
    )
    inputs = {
        "dataset": found.artifact.inputs["dataset"],
        "generations": source,
        "index": found.fingerprint,
    }

    def fill(draft: Draft) -> None:
        written = read_generations(generations)
        size = max(1, len(written)) if workers is HERE else _SHARD_USERS
        parts = [*in_order(workers.map(search, shards_of(written, size), progress=progress))]
        summary = GroundingSummary(
            queries=sum(len(each.queries) for each in written),
            found_nothing=sum(part.found_nothing for part in parts),
            filled_up=sum(part.filled_up for part in parts),
        )
        rankings.write_rankings(
            draft,
            [ranking for part in parts for ranking in part.lists],
            summary=summary.to_json(),
            extra_files=_research_examples(generations, written),
        )

    return Recipe(rankings.KIND, config.to_json(), inputs).make(out, fill)


@dataclass(frozen=True, slots=True)
class _Found:
    """A shard's lists. found_nothing: queries; filled_up: entries that popularity added."""

    lists: Sequence[Ranking]
    found_nothing: int
    filled_up: int


class _Search:
    """What is done with a shard of generations: the lists of what their titles mean. The index is
    loaded where it is needed first, and left behind when this is sent to other workers."""

    def __init__(self, index: Path, protocol: EvaluationProtocol) -> None:
        self._path, self._protocol = index, protocol

    @cached_property
    def index(self) -> Index:
        """The loaded index."""
        return load_index(self._path)

    @property
    def rule(self) -> TitleFusion:
        """How the items of one user's titles are joined."""
        return self._protocol.fusion_of(self.index.settings.retriever)

    def __call__(self, generations: Sequence[Generation], _progress: Progress, /) -> _Found:
        protocol = self._protocol
        hits = ground(generations, self.index.retriever, per_query=protocol.per_query)
        lists = fuse_all(
            generations,
            hits,
            rule=self.rule,
            length=protocol.length,
            exclude_seen=protocol.exclude_seen,
        )
        full = lists
        if protocol.fills_up:
            lists = _searched_deeper(lists, generations, self.index, protocol, self.rule)
            full = _filled_up(lists, generations, self.index, protocol)
        return _Found(full, ungrounded(generations, hits), _entries(full) - _entries(lists))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "index"}


def _searched_deeper(
    lists: Sequence[Ranking],
    generations: Sequence[Generation],
    index: Index,
    protocol: EvaluationProtocol,
    rule: TitleFusion,
) -> tuple[Ranking, ...]:
    """The lists; behind those that are too short what their titles find further down."""
    full = list(lists)
    short = [n for n, ranking in enumerate(lists) if len(ranking.entries) < protocol.length]
    found = ground_and_fuse(
        [generations[n] for n in short],
        index.retriever,
        rule=rule,
        per_query=deeper(protocol.per_query, length=protocol.length),
        length=protocol.length,
        exclude_seen=protocol.exclude_seen,
    )
    for place, more in zip(short, found, strict=True):
        full[place] = continued(full[place], more.entries, length=protocol.length)
    return tuple(full)


def _filled_up(
    lists: Sequence[Ranking],
    generations: Sequence[Generation],
    index: Index,
    protocol: EvaluationProtocol,
) -> tuple[Ranking, ...]:
    popular = by_popularity([item.id for item in index.catalogue], index.times_bought)
    return tuple(
        filled(
            ranking,
            popular,
            length=protocol.length,
            without=frozenset(generation.history) if protocol.exclude_seen else frozenset(),
        )
        for ranking, generation in zip(lists, generations, strict=True)
    )


def _entries(lists: Sequence[Ranking]) -> int:
    return sum(len(ranking.entries) for ranking in lists)


def _generations_source(
    path: Path, index: Artifact, split: SplitName | None
) -> tuple[str, SplitName]:
    """The fingerprint of generations and the split they are for; they must fit the index."""
    if Path(path).is_file():
        return fingerprint_of_file(path), split or "test"
    artifact = open_artifact(path, generated.KIND)
    artifact.require_input(
        "dataset", index.inputs["dataset"], f"the index {index.path}, whose data set is another"
    )
    own = generated.GenerationsConfig.of(artifact).split
    if split not in (None, own):
        raise ConfigError(f"{path} was generated for the {own} split: leave out --split {split}")
    return artifact.fingerprint, own


def _require_examples(path: Path, dataset: Path, index: Artifact, split: SplitName) -> None:
    """Raise unless index and research file are of the data set, and the file of the split."""
    data = Dataset.load(dataset)
    index.require_input("dataset", data.fingerprint, f"the data set {dataset}")
    if Path(path).is_file():
        require_split(read_research_file(path), data, split, what=str(path))


def _research_examples(path: Path, generations: Sequence[Generation]) -> dict[str, str]:
    """What a research file says about its users, to be kept in the ranking."""
    return {RESEARCH_EXAMPLES: example_lines(generations)} if Path(path).is_file() else {}
