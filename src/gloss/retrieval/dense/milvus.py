"""Dense search in a vector store: for vectors that outgrow a process, or change all day.

The store is Milvus, through one client: embedded (milvus-lite, a folder on disk) or a server or
cluster at an address. Needs the extra "store". `VectorStore` knows items and an encoder and no
catalogue; `StoredMilvus` is a store behind the catalogue of an index.

An entry is an item under one title, and never changes: an item with another title is another entry.
So several readers share a collection, each with a catalogue of its own, and find in it what stands
in that: an index, bundles that were made with it, and services whose catalogues change.

A password or token of a server is read from the environment variable GLOSS_MILVUS_TOKEN and is
written nowhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gloss.arrays import require_positive
from gloss.artifacts import Artifact, Draft, fingerprint_of
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.titles import clean_title
from gloss.errors import ArtifactError, ConfigError, InputError, MissingExtraError
from gloss.progress import Progress, silent
from gloss.retrieval.deepening import DEEPER
from gloss.retrieval.dense.encoders import Encoder, open_encoder
from gloss.retrieval.dense.retriever import TitleVectors, encoder_fingerprint
from gloss.retrieval.retriever import Hit, RetrieverSpec, StoredRetriever
from gloss.retrieval.settings import EncoderSettings, MilvusSettings

__all__ = ["SPEC", "TOKEN_VARIABLE", "StoredMilvus", "VectorStore"]

TOKEN_VARIABLE = "GLOSS_MILVUS_TOKEN"

_T = TypeVar("_T")

_BATCH_ITEMS = 1000
_KEY_BYTES = 32
_MAX_ID_BYTES = 512
_MAX_TITLE_BYTES = 65_535
_SPARE_HITS = 16
"""Hits asked for beyond k, so that our tie rule decides which item is k-th, not the store."""
_MAX_HITS = 16_384
"""More than these a Milvus server does not answer a text with."""

_FINGERPRINT_PROPERTY = "gloss"
"""The property of a collection that holds the fingerprint of its encoder and settings."""
_LAYOUT = "an entry for each item and title"
"""What else the fingerprint is of: collections of earlier versions are laid out otherwise."""

_STORE_FILE = "store.json"


class Entry(NamedTuple):
    """An item under a title, as the store found it. row: as it was put in."""

    item: ItemId
    title: str
    row: int
    score: float


class VectorStore:
    """A dense retriever whose vectors are in Milvus; make one with `open`."""

    def __init__(
        self, client: Any, collection: str, encoder: Encoder, settings: EncoderSettings
    ) -> None:
        self._client = client
        self._collection = collection
        self._settings = settings
        self._vectors = TitleVectors(
            (), np.zeros((0, encoder.dimension), dtype=np.float32), encoder, settings
        )

    @classmethod
    def open(
        cls,
        address: str,
        collection: str,
        encoder: Encoder,
        settings: EncoderSettings,
        *,
        create: bool = True,
        token: str = "",
    ) -> VectorStore:
        """Open a collection.

        address: "http://HOST:19530" of a server or cluster, or a folder "NAME.db" of one's own.
        settings: how titles and queries are written (title_style, marker, prefixes). create:
        whether a missing collection is made. Raises InputError when the store cannot be reached,
        ArtifactError when the collection is missing or was filled by another encoder or with other
        settings, MissingExtraError without the client.
        """
        pymilvus = _pymilvus()
        written = (settings.title_style, str(settings.marker), str(settings.prefixes))
        fingerprint = fingerprint_of(_LAYOUT, encoder.fingerprint, *written)
        try:
            client = pymilvus.MilvusClient(uri=address, token=token)
            exists = client.has_collection(collection)
            if not exists and create:
                _create(client, collection, encoder.dimension, fingerprint)
            if exists or create:
                client.load_collection(collection)
        except pymilvus.MilvusException as error:
            reason = " ".join(error.message.split())
            raise InputError(f"the vector store {address} cannot be opened: {reason}") from error
        if not exists and not create:
            client.close()
            raise ArtifactError(
                f"{address} holds no collection {collection}: make the index again with gloss index"
            )
        properties = client.describe_collection(collection)["properties"]
        if properties.get(_FINGERPRINT_PROPERTY) != fingerprint:
            raise ArtifactError(
                f"{collection} in {address} was filled by another encoder or with other settings: "
                "name another collection"
            )
        return cls(client, collection, encoder, settings)

    def __len__(self) -> int:
        (row,) = self._client.query(
            self._collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(row["count(*)"])

    def upsert(self, items: Iterable[Item], *, row: int, progress: Progress = silent) -> None:
        """Add items, or replace those with the same ids and titles; they are found at once.

        row: of the first item, the others' follow. Of equal scores the lower row comes first.
        """
        done = 0
        for batch in _batches(items):
            titles = [clean_title(item.title, self._settings.title_style) for item in batch]
            vectors = self._vectors.of_documents(titles)
            self._client.upsert(
                self._collection,
                [
                    {
                        "key": _key(item),
                        "item": item.id,
                        "title": item.title,
                        "row": row + done + place,
                        "vector": vector,
                    }
                    for place, (item, vector) in enumerate(zip(batch, vectors, strict=True))
                ],
            )
            done += len(batch)
            progress(done, None)

    def delete(self, items: Iterable[Item]) -> None:
        """Remove items under their titles. Missing ones are ignored."""
        for batch in _batches(items):
            self._client.delete(self._collection, ids=[_key(item) for item in batch])

    def clear(self) -> None:
        """Remove all items."""
        self._client.delete(self._collection, filter="row >= 0")

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`; scores are cosines, as with `Dense`.

        If more than 16 items tie for the last place, the store chooses among them.
        """
        require_positive(k)
        found = self.entries(texts, k + _SPARE_HITS)
        return [_best((Hit(e.item, e.row, e.score) for e in each), k) for each in found]

    def entries(self, texts: Sequence[str], count: int) -> list[tuple[Entry, ...]]:
        """For each text the `count` nearest entries whose score is above 0, or as many as the store
        answers with, in the store's order."""
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        found: dict[str, tuple[Entry, ...]] = {}
        for batch in _batches(distinct):
            answers = self._client.search(
                self._collection,
                data=list(self._vectors.of_queries(batch)),
                limit=min(count, _MAX_HITS),
                output_fields=["item", "title", "row"],
                search_params={"metric_type": "IP"},
                consistency_level="Strong",
            )
            found |= dict(zip(batch, map(_entries, answers), strict=True))
        return [found.get(text, ()) for text in texts]

    def close(self) -> None:
        """Release the connection or the folder."""
        self._client.close()


class StoredMilvus:
    """A vector store that is searched for the items of a catalogue.

    The store may hold entries that this catalogue does not know: of other readers, or of a change
    that was interrupted. They are left out, and a hit's row is the catalogue's.
    """

    def __init__(
        self, store: VectorStore, catalogue: Catalogue, collection: str, next_row: int
    ) -> None:
        """next_row: of the next item that is added, above those of all that are there."""
        self.store = store
        self._catalogue = catalogue
        self._collection = collection
        self._next_row = next_row

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        settings: MilvusSettings,
        *,
        previous: StoredRetriever | None,
        progress: Progress,
    ) -> StoredMilvus:
        """Fill a collection with a catalogue, or change the previous index's by the difference."""
        if isinstance(previous, StoredMilvus):
            return previous.changed(catalogue, progress)
        collection = settings.collection or f"gloss_{catalogue.fingerprint[:16]}"
        store = _opened(settings, collection, create=True)
        if settings.collection:  # one that is named after the catalogue may serve bundles of it
            store.clear()
        store.upsert(catalogue, row=0, progress=progress)
        return cls(store, catalogue, collection, len(catalogue))

    def changed(self, catalogue: Catalogue, progress: Progress) -> StoredMilvus:
        """Make the store hold this catalogue too, and no longer the items that it lacks.

        An item with another title is added under that, and stays under the earlier one, by which a
        bundle that is served may know it.
        """
        self.store.delete(item for item in self._catalogue if item.id not in catalogue)
        new = [item for item in catalogue if not _holds(self._catalogue, item.id, item.title)]
        self.store.upsert(new, row=self._next_row, progress=progress)
        return StoredMilvus(self.store, catalogue, self._collection, self._next_row + len(new))

    def save(self, draft: Draft) -> None:
        """Write where the vectors are; the address is in the index's settings."""
        draft.write_json(_STORE_FILE, {"collection": self._collection, "next_row": self._next_row})

    @classmethod
    def load(
        cls, artifact: Artifact, catalogue: Catalogue, settings: MilvusSettings
    ) -> StoredMilvus:
        """Open the store that `save` wrote down."""
        saved = json.loads(artifact.file(_STORE_FILE).read_bytes())
        store = _opened(settings, saved["collection"], create=False)
        return cls(store, catalogue, saved["collection"], saved["next_row"])

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`; scores are cosines.

        Searches deeper until k known items are found, among the nearest 16,384 entries at most.
        """
        require_positive(k)
        found: dict[str, tuple[Hit, ...]] = {}
        wanted, depth = list(dict.fromkeys(texts)), k + _SPARE_HITS
        while wanted:
            for text, entries in zip(wanted, self.store.entries(wanted, depth), strict=True):
                hits = self._known(entries)
                if len(hits) >= k or len(entries) < depth or depth >= _MAX_HITS:
                    found[text] = _best(hits, k)
            wanted = [text for text in wanted if text not in found]
            depth = min(DEEPER * depth, _MAX_HITS)
        return [found[text] for text in texts]

    def _known(self, entries: Iterable[Entry]) -> list[Hit]:
        catalogue = self._catalogue
        known = (each for each in entries if _holds(catalogue, each.item, each.title))
        return [Hit(each.item, catalogue.row(each.item), each.score) for each in known]


def _holds(catalogue: Catalogue, item: ItemId, title: str) -> bool:
    return item in catalogue and catalogue.title(item) == title


def _key(item: Item) -> str:
    """The primary key of an item under its title."""
    return fingerprint_of(item.id, item.title)[:_KEY_BYTES]


def _opened(settings: MilvusSettings, collection: str, *, create: bool) -> VectorStore:
    address = _address(settings)
    encoder = open_encoder(settings.encoder)
    token = os.environ.get(TOKEN_VARIABLE, "")
    return VectorStore.open(address, collection, encoder, settings, create=create, token=token)


def _address(settings: MilvusSettings) -> str:
    if settings.address is None:
        raise ConfigError(
            "the retriever 'milvus' needs an address: http://HOST:19530 of a server, or a folder "
            "NAME.db"
        )
    return settings.address


def _inputs(settings: MilvusSettings) -> Mapping[str, str]:
    """The encoder; what else a store needs is asked for as early."""
    _address(settings)
    _pymilvus()
    return encoder_fingerprint(settings)


def _pymilvus() -> Any:
    if find_spec("pymilvus") is None:
        raise MissingExtraError("the vector store", "store")
    return import_module("pymilvus")


def _batches(values: Iterable[_T]) -> Iterator[list[_T]]:
    rest = iter(values)
    while batch := list(islice(rest, _BATCH_ITEMS)):
        yield batch


def _create(client: Any, collection: str, dimension: int, fingerprint: str) -> None:
    types = import_module("pymilvus").DataType
    schema = client.create_schema(auto_id=False)
    schema.add_field("key", types.VARCHAR, is_primary=True, max_length=_KEY_BYTES)
    schema.add_field("item", types.VARCHAR, max_length=_MAX_ID_BYTES)
    schema.add_field("title", types.VARCHAR, max_length=_MAX_TITLE_BYTES)
    schema.add_field("row", types.INT64)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=dimension)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
    client.create_collection(
        collection,
        schema=schema,
        index_params=index,
        consistency_level="Strong",
        properties={_FINGERPRINT_PROPERTY: fingerprint},
    )


def _entries(answer: Iterable[Mapping[str, Any]]) -> tuple[Entry, ...]:
    found = (({**each["entity"]}, float(each["distance"])) for each in answer)
    return tuple(
        Entry(fields["item"], fields["title"], fields["row"], score)
        for fields, score in found
        if score > 0
    )


def _best(hits: Iterable[Hit], k: int) -> tuple[Hit, ...]:
    return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.row))[:k])


SPEC = RetrieverSpec(
    name="milvus",
    label="{encoder} in Milvus",
    settings=MilvusSettings,
    build=StoredMilvus.build,
    load=StoredMilvus.load,
    inputs=_inputs,
    published_fusion="last",
    in_place=True,
)
