"""One list for each person, from all parts of a bundle.

Knows bundles, and masks of the rows that may be shown; does not know the rules behind a mask.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gloss.arrays import Bools, Floats, top_rows
from gloss.config import Decoding
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.generations import Generation, Query
from gloss.data.histories import History, UserId
from gloss.decoding.generator import Generator, stream
from gloss.errors import ConfigError, GlossError, require_extra
from gloss.fusion.reciprocal_rank import ReciprocalRank
from gloss.fusion.rule import FusionRequest
from gloss.prompts import Prompt
from gloss.rankers.known_items import KnownItems
from gloss.rankers.ranker import Ranker, RankerSpec, RankRequest
from gloss.rankings.filling import by_popularity
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.records import OURS
from gloss.rankings.table import RankingTable
from gloss.recommender.bundle import Bundle, ModelPart, RankerPart
from gloss.recommender.extended import ExtendedBundle, cleaned
from gloss.recommender.histories import ReadHistory
from gloss.retrieval.dense.encoders import Encoder, open_encoder
from gloss.retrieval.grounding import deeper, fuse, rank
from gloss.retrieval.retriever import Retriever
from gloss.retrieval.within import within

__all__ = ["ListRequest", "Lists"]

_KEPT_GENERATORS = 4
"""How many generators for masks are kept: the same rules tend to be request for again."""

_WISH_HITS = 200
"""Items that a wish finds, by its words and by its vector each."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What is asked of every list.

    allowed: bool (catalogue,), the rows that may be shown, None for all; exclude_seen: leave out
    what the person has bought; length: items in a list, at most; fills_up: whether popular items
    end a list that is too short. on_title: called with a person and a title as the language model
    writes it. wish: what stands in the prompt of a language model that reads one.
    """

    allowed: Bools | None
    exclude_seen: bool
    length: int
    fills_up: bool = True
    on_title: Callable[[UserId, str], None] | None = None
    wish: str | None = None

    def excluded(self, history: ReadHistory) -> frozenset[ItemId]:
        """The items that this person's list leaves out."""
        return frozenset(history.items) if self.exclude_seen else frozenset()


class Lists:
    """The opened parts of a bundle: rankers are built and the model is loaded here, once."""

    def __init__(self, bundle: Bundle, decoding: Decoding | None = None) -> None:
        self._model: ModelPart | None = bundle.settings.model
        self._rankers = [_built(bundle, part, spec) for part, spec in bundle.rankers()]
        self._fusion = bundle.fusion
        self._read(bundle)
        self._whole = self._opened(decoding) if self._model else None
        self._whole_writes = bundle.catalogue

    def _read(self, bundle: Bundle) -> None:
        """What depends on which items there are."""
        self.bundle = bundle
        self.catalogue: Catalogue = bundle.catalogue
        self._times_bought = {
            item.id: int(count)
            for item, count in zip(bundle.catalogue, bundle.times_bought, strict=True)
            if count
        }
        self.retriever: Retriever = bundle.retriever
        self._by_popularity = by_popularity(
            [item.id for item in bundle.catalogue], bundle.times_bought
        )
        self._generators: OrderedDict[bytes, Generator] = OrderedDict()

    def with_items(self, items: Sequence[Item]) -> Lists:
        """The same parts, with items that came later; the model is shared. See `ExtendedBundle`."""
        new = cleaned(items, self.bundle)
        bundle = ExtendedBundle(self.bundle, new, self._vectors_of([each.title for each in new]))
        other = copy(self)
        other._rankers = [
            _built(bundle, part, spec)
            if bundle.knows_titles_of(part)
            else (KnownItems.of(ranker, self.catalogue, bundle.catalogue), length)
            for (ranker, length), (part, spec) in zip(
                self._rankers, self.bundle.rankers(), strict=True
            )
        ]
        other._read(bundle)
        return other

    @property
    def has_model(self) -> bool:
        """Whether a language model is among the parts."""
        return self._model is not None

    @property
    def reads_wish(self) -> bool:
        """Whether the language model, where there is one, reads a wish."""
        return self._model is not None and self._model.reads_wish

    @property
    def has_rankers(self) -> bool:
        """Whether anything else is."""
        return bool(self._rankers)

    def of_known(self, histories: Sequence[ReadHistory], request: ListRequest) -> list[Ranking]:
        """By all parts, for those who bought something that the catalogue knows."""
        parts = self.of_parts(histories, request)
        fused = self.fused(parts, histories, request)
        if fused is None:
            (alone,) = parts.values()
            return list(alone.first(request.length))
        together = zip(fused, *parts.values(), strict=True)
        return [_explained(ranking, of_parts) for ranking, *of_parts in together]

    def of_parts(
        self, histories: Sequence[ReadHistory], request: ListRequest
    ) -> dict[str, RankingTable]:
        """By each part alone, by its name: what is fused, as long as the bundle says."""
        lists = {}
        if self._model:
            lists[OURS] = RankingTable.of(self._written(histories, request, self._model))
        known = [each.known for each in histories]
        for (ranker, length), part in zip(self._rankers, self.bundle.settings.rankers, strict=True):
            of_ranker = RankRequest(known, length, request.exclude_seen, allowed=request.allowed)
            lists[part.name] = ranker.rank(of_ranker)
        return lists

    def fused(
        self,
        parts: Mapping[str, RankingTable],
        histories: Sequence[ReadHistory],
        request: ListRequest,
    ) -> RankingTable | None:
        """One list of those of all parts; None where the bundle has one part alone."""
        if self._fusion is None:
            return None
        known = [each.known for each in histories]
        to_fuse = FusionRequest([*parts.values()], known, self._times_bought)
        return self._fusion.fuse(to_fuse, length=request.length)

    def of_model(self, histories: Sequence[ReadHistory], request: ListRequest) -> list[Ranking]:
        """By the language model alone, which reads every title."""
        if self._model is None:
            raise ConfigError("the bundle has no language model")
        deep = deeper(self._model.per_query, length=request.length)
        alone = self._model.model_copy(update={"per_query": deep, "length": request.length})
        return self._written(histories, request, alone)

    def _written(
        self, histories: Sequence[ReadHistory], request: ListRequest, how: ModelPart
    ) -> list[Ranking]:
        """The items of the titles that the language model writes."""
        generator = self._generator(request.allowed)
        builder = generator.prompt_builder()
        wish = request.wish if how.reads_wish else None
        prompts = [
            replace(builder.build(each.user, (), each.titles, wish=wish), history=each.items)
            for each in histories
        ]
        rankings = rank(
            _generated(generator, prompts, request),
            within(self.retriever, request.allowed),
            rule=how.fusion,
            per_query=how.per_query,
            length=how.length,
            exclude_seen=request.exclude_seen,
        )
        return list(rankings)

    def of_texts(self, histories: Sequence[ReadHistory], request: ListRequest) -> list[Ranking]:
        """By titles like those of purchases that the catalogue lacks; the latest count most."""
        retriever = within(self.retriever, request.allowed)
        found = []
        for each in histories:
            texts = each.unknown[::-1]
            queries = tuple(Query(text, beam) for beam, text in enumerate(texts))
            hits = retriever.search(texts, request.length)
            generation = Generation(each.user, (), queries)
            found.append(fuse(generation, hits, "reciprocal-rank", length=request.length))
        return found

    def nearest_titles(self, texts: Sequence[str]) -> dict[str, str | None]:
        """For each text the title that the index finds first; None where it finds nothing."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return {}
        found = self.retriever.search(distinct, 1)
        titles = [self.catalogue.title(hits[0].item) if hits else None for hits in found]
        return dict(zip(distinct, titles, strict=True))

    def of_wish(self, wish: str, request: ListRequest) -> tuple[RankedItem, ...]:
        """What a sentence finds: by its words, and by its vector where there is an encoder."""
        (hits,) = within(self.retriever, request.allowed).search([wish], _WISH_HITS)
        by_words = tuple(RankedItem(hit.item, hit.score, query=wish) for hit in hits)
        by_vector = self._near(wish, request)
        if not by_vector:
            return by_words
        lists = [RankingTable.of([Ranking(_NOBODY.user, each)]) for each in (by_words, by_vector)]
        return _joined(lists, length=_WISH_HITS)

    def with_wish(
        self,
        ranking: Ranking,
        wished: Sequence[RankedItem],
        history: ReadHistory,
        request: ListRequest,
    ) -> Ranking:
        """A list and what a wish has found, joined by their ranks."""
        seen = request.excluded(history)
        left = tuple(entry for entry in wished if entry.item not in seen)
        tables = [RankingTable.of([Ranking(_NOBODY.user, e)]) for e in (ranking.entries, left)]
        return Ranking(ranking.user, _joined(tables, length=request.length))

    def popular(self, history: ReadHistory, request: ListRequest) -> Iterator[RankedItem]:
        """All that may be shown: what is bought most, at last what nobody has bought yet."""
        seen, allowed = request.excluded(history), request.allowed
        for entry in self._by_popularity:
            if entry.item not in seen and (
                allowed is None or allowed[self.catalogue.row(entry.item)]
            ):
                yield entry

    def _opened(self, decoding: Decoding | None) -> Generator:
        require_extra("a language model", "train", "torch", "transformers")
        from gloss.decoding.open import open_generator

        assert self._model is not None
        assert self.bundle.model is not None
        return open_generator(self.bundle.model, decoding or self._model.decoding, self.catalogue)

    def _generator(self, allowed: Bools | None) -> Generator:
        """The generator that writes the allowed titles alone."""
        assert self._whole is not None
        if allowed is None and self.catalogue is self._whole_writes:
            return self._whole
        rows = np.ones(len(self.catalogue), np.bool_) if allowed is None else allowed
        key = np.packbits(rows).tobytes()
        if key not in self._generators:
            items = (item for item, kept in zip(self.catalogue, rows, strict=True) if kept)
            self._generators[key] = self._whole.within(Catalogue(items))
        self._generators.move_to_end(key)
        while len(self._generators) > _KEPT_GENERATORS:
            self._generators.popitem(last=False)
        return self._generators[key]

    def _near(self, wish: str, request: ListRequest) -> tuple[RankedItem, ...]:
        vector = self._vector_of(wish)
        if vector is None:
            return ()
        scores = self.bundle.title_vectors @ vector  # (catalogue,)
        if request.allowed is not None:
            scores = np.where(request.allowed, scores, 0)
        rows = top_rows(scores, _WISH_HITS).tolist()
        return tuple(RankedItem(self.catalogue[r].id, float(scores[r]), query=wish) for r in rows)

    def _vector_of(self, text: str) -> Floats | None:
        """float32 (width,); None where the bundle, or this machine, has no encoder of titles."""
        if self._encoder is None:
            return None
        vector: Floats = self._encoder.encode([text], role="query")[0]
        return vector

    def _vectors_of(self, titles: Sequence[str]) -> Floats | None:
        """float32 (titles, width), like the bundle's; None where it or this machine has none."""
        if not self.bundle.has_title_vectors or self._encoder is None:
            return None
        return self._encoder.encode(titles, role="document")

    @cached_property
    def _encoder(self) -> Encoder | None:
        name = self.bundle.settings.encoder
        try:
            encoder = open_encoder(name) if name else None
        except GlossError:  # not installed here: words still find
            return None
        known = self.bundle.artifact.inputs.get("encoder")
        return encoder if encoder and encoder.fingerprint == known else None


_NOBODY = History(UserId(""), ())


def _generated(
    generator: Generator, prompts: Sequence[Prompt], request: ListRequest
) -> list[Generation]:
    on_title = request.on_title
    if on_title is None:
        return generator.generate(prompts)
    return stream(generator, prompts, lambda number, title: on_title(prompts[number].user, title))


def _joined(tables: Sequence[RankingTable], *, length: int) -> tuple[RankedItem, ...]:
    (joined,) = ReciprocalRank().fuse(FusionRequest(tables, [_NOBODY], {}), length=length)
    return joined.entries


def _built(bundle: Bundle, part: RankerPart, spec: RankerSpec[Any]) -> tuple[Ranker, int]:
    spec.require_installed()
    parts = bundle.parts_of(spec)
    ranker = spec.build(parts, spec.settings.model_validate(part.settings))
    if parts is not bundle:
        ranker = KnownItems.of(ranker, parts.catalogue, bundle.catalogue)
    return ranker, part.length


def _explained(ranking: Ranking, parts: Sequence[Ranking]) -> Ranking:
    """With a purchase for every item for which any of the joined lists names one.

    Inside the catalogue a title that was written is the item's own, which explains nothing.
    """
    because: dict[ItemId, ItemId] = {}
    for part in parts:
        for entry in part.entries:
            if entry.because is not None:
                because.setdefault(entry.item, entry.because)
    entries = (
        entry if entry.because is not None else entry._replace(because=because.get(entry.item))
        for entry in ranking.entries
    )
    return Ranking(ranking.user, tuple(entries))
