"""Search by meaning in a vector store: for catalogues that outgrow a process, or change all day.

The store is Milvus, by one client: embedded (milvus-lite, a folder on disk) or a server or cluster
at an address. Needs the extra "store". Knows items and an encoder; no catalogue, so that none has
to fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from gloss.artifacts import fingerprint_of
from gloss.data.catalogue import Item, ItemId
from gloss.data.titles import clean_title
from gloss.errors import ArtifactError, InputError, MissingExtraError
from gloss.progress import Progress, silent
from gloss.retrieval.dense.encoders import Encoder
from gloss.retrieval.dense.nearest import require_some
from gloss.retrieval.dense.retriever import TitleVectors
from gloss.retrieval.retriever import Hit, IndexSettings

__all__ = ["VectorStore"]

_T = TypeVar("_T")

_BATCH = 1000
_LONGEST_ID = 512
_MADE_WITH = "gloss"
_SPARE = 16
"""Asked for beyond k, so that the tie rule decides who is k-th, not the store."""


class VectorStore:
    """A retriever by meaning whose vectors live in Milvus; make one with `open`."""

    def __init__(
        self, client: Any, collection: str, encoder: Encoder, settings: IndexSettings
    ) -> None:
        self._client = client
        self._collection = collection
        self._settings = settings
        self._texts = TitleVectors(
            (), np.zeros((0, encoder.dimension), dtype=np.float32), encoder, settings
        )

    @classmethod
    def open(
        cls,
        address: str,
        collection: str,
        encoder: Encoder,
        settings: IndexSettings,
        *,
        token: str = "",
    ) -> VectorStore:
        """Open a collection, made if it is not there.

        address: "http://HOST:19530" of a server or cluster, or a folder "NAME.db" of one's own.
        settings: how titles and texts are written (title_style, marker, prefixes). Raises
        InputError when the store cannot be reached, ArtifactError when the collection was filled by
        another encoder or with other settings, MissingExtraError without the client.
        """
        if find_spec("pymilvus") is None:
            raise MissingExtraError("the vector store", "store")
        pymilvus = import_module("pymilvus")
        written = (settings.title_style, str(settings.marker), str(settings.prefixes))
        made_with = fingerprint_of(encoder.fingerprint, *written)
        try:
            client = pymilvus.MilvusClient(uri=address, token=token)
            if not client.has_collection(collection):
                _create(client, collection, encoder.dimension, made_with)
            client.load_collection(collection)
        except pymilvus.MilvusException as error:
            reason = " ".join(error.message.split())
            raise InputError(f"the vector store {address} cannot be opened: {reason}") from error
        if client.describe_collection(collection)["properties"].get(_MADE_WITH) != made_with:
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
        """Put items in, or in the place of those with their ids; they are found at once.

        row: the first one's number, the others' follow; what decides between equal scores.
        """
        done = 0
        for part in _batches(items):
            titles = [clean_title(item.title, self._settings.title_style) for item in part]
            self._client.upsert(
                self._collection,
                [
                    {"item": item.id, "title": title, "row": row + done + place, "vector": vector}
                    for place, (item, title, vector) in enumerate(
                        zip(part, titles, self._texts.of_documents(titles), strict=True)
                    )
                ],
            )
            done += len(part)
            progress(done, None)

    def delete(self, items: Iterable[ItemId]) -> None:
        """Take items out; those that are not there are no matter."""
        for part in _batches(items):
            self._client.delete(self._collection, ids=list(part))

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`; scores are cosines, as with `Dense`.

        Of more than 16 items that tie for the last place, the store chooses.
        """
        require_some(k)
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        found: dict[str, tuple[Hit, ...]] = {}
        for part in _batches(distinct):
            answers = self._client.search(
                self._collection,
                data=list(self._texts.of_queries(part)),
                limit=k + _SPARE,
                output_fields=["row"],
                search_params={"metric_type": "IP"},
                consistency_level="Strong",
            )
            found |= {text: _hits(each, k) for text, each in zip(part, answers, strict=True)}
        return [found.get(text, ()) for text in texts]

    def close(self) -> None:
        """Let go of the connection, or of the folder."""
        self._client.close()


def _batches(values: Iterable[_T]) -> Iterator[list[_T]]:
    rest = iter(values)
    while part := list(islice(rest, _BATCH)):
        yield part


def _create(client: Any, collection: str, dimension: int, made_with: str) -> None:
    kinds = import_module("pymilvus").DataType
    schema = client.create_schema(auto_id=False)
    schema.add_field("item", kinds.VARCHAR, is_primary=True, max_length=_LONGEST_ID)
    schema.add_field("title", kinds.VARCHAR, max_length=65_535)
    schema.add_field("row", kinds.INT64)
    schema.add_field("vector", kinds.FLOAT_VECTOR, dim=dimension)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
    client.create_collection(
        collection,
        schema=schema,
        index_params=index,
        consistency_level="Strong",
        properties={_MADE_WITH: made_with},
    )


def _hits(answer: Iterable[Mapping[str, Any]], k: int) -> tuple[Hit, ...]:
    hits = (Hit(each["item"], each["entity"]["row"], float(each["distance"])) for each in answer)
    best = sorted((hit for hit in hits if hit.score > 0), key=lambda hit: (-hit.score, hit.row))
    return tuple(best[:k])
