"""What native code reads, mutated and sealed anew: LightGBM, FAISS, safetensors, Parquet, arrays,
tokenizers.

    python -m campaign --only natives

A mutation may still be readable; then what is computed of it must be numbers. If not, it is one
line that says so: no traceback, no abort, no endless loop. Every mutation is read in a process of
its own.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaign.artefacts import copied, resealed
from campaign.ledger import BAD, Row, judged
from processes import Processes

__all__ = ["READERS", "Reader", "mutate"]

_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads a file of an artefact. function: of this module."""

    case: str
    artefact: str
    file: str
    function: str


READERS = (
    Reader("trees (LightGBM)", "ranking, fused", "trees.txt", "read_fusion"),
    Reader("graph (FAISS)", "index, dense", "neighbours.faiss", "search_index"),
    Reader("vectors (npy)", "index, dense", "vectors.npy", "search_index"),
    Reader("weights (safetensors)", "language model", "model.safetensors", "read_model"),
    Reader("weights of a ranker", "ranker, trained", "network-0.safetensors", "read_sasrec"),
    Reader("config.json", "language model", "config.json", "read_model"),
    Reader("tokenizer.json", "language model", "tokenizer.json", "read_tokenizer"),
    Reader("prompt.json", "language model", "prompt.json", "read_template"),
    Reader("catalogue (Parquet)", "data set", "catalogue.parquet", "read_data"),
    Reader("histories (Parquet)", "data set", "train.parquet", "read_data"),
    Reader("rankings (Parquet)", "ranking", "ranking.parquet", "read_ranking"),
    Reader("figures (Parquet)", "evaluation", "per_user.parquet", "read_figures"),
    Reader("figures (JSON)", "evaluation", "metrics.json", "read_figures"),
    Reader("term scores (npy)", "index, lexical", "data.npy", "search_index"),
    Reader("term rows (npy)", "index, lexical", "indices.npy", "search_index"),
    Reader("term columns (npy)", "index, lexical", "indptr.npy", "search_index"),
    Reader("vocabulary.json", "index, lexical", "vocabulary.json", "search_index"),
    Reader("generations (JSON)", "generations", "part-00000.jsonl", "read_generations"),
)


def mutate(
    processes: Processes, made: dict[str, Path], folder: Path, *, trials: int, seed: int
) -> list[Row]:
    """`trials` mutations, shared out over the files."""
    readers = [r for r in READERS if r.artefact in made and (made[r.artefact] / r.file).is_file()]
    return [
        _mutations_of(processes, reader, made, folder, max(1, trials // len(readers)), seed)
        for reader in readers
    ]


def _mutations_of(
    processes: Processes,
    reader: Reader,
    made: dict[str, Path],
    folder: Path,
    trials: int,
    seed: int,
) -> Row:
    row = Row("natives", reader.case)
    spoiled = copied(made[reader.artefact], folder / "mutated")
    file, function = spoiled / reader.file, f"campaign.natives:{reader.function}"
    content = file.read_bytes()
    for number in range(trials):
        rng = random.Random(f"{seed} {reader.case} {number}")
        file.write_bytes(mutated(content, rng))
        resealed(spoiled)
        ended = processes.call(function, str(spoiled), str(made["data set"]), limit=_SECONDS)
        outcome = judged(ended)
        said = ended.stderr[-800:] if outcome in BAD else ""
        row.add(outcome, f"mutation {seed} {reader.case} {number}, signal {ended.signal}: {said}")
    return row


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to four changes, of its bytes or, in a text, of its words."""
    text = not re.search(rb"[^\t\n\r\x20-\x7e\x80-\xff]", content[:4096])
    ways = (*_OF_BYTES, *(3 * _OF_TEXT if text else ()))
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(ways)(content, rng)
    return content


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    place = _place(content, rng)
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _number(content: bytes, rng: random.Random) -> bytes:
    """Some bytes in a row are another number: small, huge, negative, or none at all."""
    form, numbers = rng.choice(
        (
            ("<i", (0, 1, -1, 2**31 - 1, -(2**31), 1 << 20)),
            ("<q", (0, 1, -1, 2**63 - 1, -(2**63), 1 << 40)),
            ("<f", (float("nan"), float("inf"), -float("inf"), 3e38)),
            ("<d", (float("nan"), float("inf"), -float("inf"), 1e308)),
        )
    )
    packed = struct.pack(form, rng.choice(numbers))
    place = _place(content, rng)
    return content[:place] + packed + content[place + len(packed) :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: _place(content, rng)]


def _without(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[place + rng.randint(1, 64) :]


def _twice(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    part = content[place : place + rng.randint(1, 256)]
    return content[:place] + part + content[place:]


def _place(content: bytes, rng: random.Random) -> int:
    """Anywhere, and half of the time near the beginning or the end, where formats have heads."""
    if not content:
        return 0
    near = rng.choice((None, None, 512, -512))
    if near is None or len(content) <= 512:
        return rng.randrange(len(content))
    return rng.randrange(near) if near > 0 else len(content) + rng.randrange(near, 0)


_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_HOSTILE_NUMBERS = (
    *(b"0", b"-1", b"1", b"2", b"nan", b"inf", b"-inf", b"NaN", b"-Infinity", b"1e999", b"-1e308"),
    *(b"2147483647", b"-2147483648", b"4294967296", b"9223372036854775808", b"1" * 400),
    *(b"null", b"true", b'"1"', b"[]", b"{}", b""),
)


def _other_number(content: bytes, rng: random.Random) -> bytes:
    found = [*_NUMBER.finditer(content)]
    if not found:
        return content
    number = rng.choice(found)
    return content[: number.start()] + rng.choice(_HOSTILE_NUMBERS) + content[number.end() :]


def _lines(content: bytes, rng: random.Random) -> bytes:
    """A line is gone, or there twice, or in another place."""
    lines = content.split(b"\n")
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randint(0, len(lines)), line)
    return b"\n".join(lines)


def _word(content: bytes, rng: random.Random) -> bytes:
    """A name or a text is another one of the same file, or a hostile one."""
    found = [*re.finditer(rb"[A-Za-z_]\w*", content)]
    if not found:
        return content
    old, new = rng.choice(found), rng.choice(found)[0]
    hostile = (b"", b"\x1b[2J", b"A" * 10_000, b"\xff\xfe", b'":[[[[', b"\\ud800")
    return content[: old.start()] + rng.choice((new, *hostile)) + content[old.end() :]


_Way = Callable[[bytes, random.Random], bytes]
_OF_BYTES: Sequence[_Way] = (_flip, _flip, _number, _number, _cut, _without, _twice)
_OF_TEXT: Sequence[_Way] = (_other_number, _other_number, _lines, _word)


# What follows runs in the forks.


def read_fusion(path: str, _data: str) -> None:
    """The fitted fusion of a fused ranking, and a list by it."""
    import numpy as np

    from gloss.artifacts import open_artifact
    from gloss.data.histories import History
    from gloss.fusion.rule import FusionRequest
    from gloss.fusion.rules import rule_named
    from gloss.rankings.ranking import RankedItem, Ranking
    from gloss.rankings.table import RankingTable

    fused = open_artifact(Path(path), "ranking")
    with fused.reading(), fused.folder() as folder:
        fitted = rule_named(fused.config["fusion"]).load(folder)
    entries = tuple(RankedItem(f"b{number}", 1.0 / (1 + number)) for number in range(20))
    lists = [RankingTable.of([Ranking("u", entries)]) for _ in fused.config["rankers"]]
    request = FusionRequest(lists, [History("u", ("b1", "b2"))], {"b1": 3})
    made = fitted.fuse(request, length=5)
    assert np.isfinite(made.entries["scores"].to_numpy()).all()


def search_index(path: str, _data: str) -> None:
    """An index, and a search in it by a title that it has (no encoder is loaded for that)."""
    import math

    from gloss.retrieval.index import load_index

    index = load_index(Path(path))
    titles = index.catalogue.titles[:3]
    for hits in index.stored.search(list(titles), 20):
        assert all(math.isfinite(hit.score) for hit in hits)


def read_model(path: str, _data: str) -> None:
    """The networks of a language model, and what they expect after a word."""
    import torch

    from gloss.language.loading import load_networks

    for language in load_networks(Path(path), device="cpu"):
        tokens = torch.tensor([language.tokenizer("\nRed kite\n")["input_ids"]])
        with torch.inference_mode():
            logits = language.model(tokens).logits
        assert torch.isfinite(logits).all()


def read_tokenizer(path: str, _data: str) -> None:
    """The tokenizer of a language model, as it is loaded with the model, and what it does."""
    from gloss.language.loading import load_networks

    (language, *_) = load_networks(Path(path), device="cpu")
    tokens = language.tokenizer("Red kite, 12 cm\n", split_special_tokens=True)["input_ids"]
    language.tokenizer.decode(tokens)


def read_template(path: str, _data: str) -> None:
    """The prompt's template of a language model."""
    from gloss.language.loading import template_of

    template_of(Path(path)).render(["Red kite"])


def read_model_and_template(path: str, data: str) -> None:
    """All of a language model."""
    read_template(path, data)
    read_model(path, data)


def read_sasrec(path: str, data: str) -> None:
    """A trained SASRec, and a list by it."""
    import numpy as np

    from gloss.data.dataset import Dataset
    from gloss.data.histories import History
    from gloss.rankers.ranker import RankRequest
    from gloss.rankers.sasrec.ranker import SPEC
    from gloss.rankers.sources import RankerSources

    dataset = Dataset.load(Path(data))
    sources = RankerSources(dataset, "fair", trained={"sasrec": Path(path)})
    ranker = SPEC.build(sources, sources.settings_of(SPEC, SPEC.settings()))
    history = History("u", tuple(item.id for item in sources.catalogue.items[:3]))
    made = ranker.rank(RankRequest([history], length=5, exclude_seen=True))
    assert np.isfinite(made.entries["scores"].to_numpy()).all()


def read_data(path: str, _data: str) -> None:
    """A data set: catalogue, histories and a split, each purchase a text of the catalogue's."""
    from gloss.data.dataset import Dataset

    dataset = Dataset.load(Path(path))
    catalogue = dataset.catalogue("fair")
    for history in dataset.train():
        assert isinstance(history.user, str)
        assert all(item in catalogue for item in history.items)


def read_ranking(path: str, _data: str) -> None:
    """A ranking, every list of it."""
    import math

    from gloss.rankings.files import load_rankings

    for ranking in load_rankings(Path(path))[1]:
        assert all(math.isfinite(entry.score) for entry in ranking.entries)


def read_figures(path: str, _data: str) -> None:
    """An evaluation: figures a user, and their means."""
    import math

    from gloss.evaluation.evaluate import load_evaluation, read_figures

    artifact, evaluation = load_evaluation(Path(path))
    assert all(math.isfinite(mean) for mean in evaluation.means().values())
    overall = read_figures(artifact)["overall"]
    assert all(math.isfinite(each["mean"]) for each in overall["metrics"].values())


def read_generations(path: str, _data: str) -> None:
    """What a language model wrote."""
    import math

    from gloss.data.generations import read_generations

    for generation in read_generations(Path(path)):
        for query in generation.queries:
            assert isinstance(query.text, str)
            assert query.logprob is None or math.isfinite(query.logprob)
