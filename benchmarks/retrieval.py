"""How fast items are found: ours beside bm25s, retriv and FAISS, and beside the machine's limit.

    python benchmarks/retrieval.py --data data/beauty --out benchmarks/results/retrieval-cpu.json

Words: five generated titles for each test user, 94 of 100 of which are catalogue titles to the
letter (as a fine-tuned language model writes them), drawn as often as they are bought; the others
lack a word, have a foreign one, or are halves of two titles. bm25s is called as the published code
calls it, on the same texts: `tokenize` with English stop words, then `retrieve`. "--distinct" adds
the worst case, in which no two texts are equal and none is a title.

Meaning: unit vectors of random directions; nothing but their number and length matters to an exact
search. The limit is the product of the same matrices by the same BLAS, whole, and nothing else.

The whole: `gloss rank` and `gloss evaluate` from a generations file to an evaluation on disk.

bm25s's numpy backend takes half a minute: it is given every 20th text, and its times are scaled up.

Every time is the median of several, taken in turns with its peers; beside the wall clock stands the
CPU time of the process, which other processes disturb less. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.evaluation.protocol import FAIR, PAPER, EvaluationProtocol
from gloss.experiment import stages
from gloss.retrieval.dense.blocked import top_products
from gloss.retrieval.index import build_index
from gloss.retrieval.lexical.bm25 import BM25
from gloss.retrieval.lexical.bm25s_import import import_bm25s
from machine import processor

bm25s = import_bm25s()  # with JAX it would hold most of the GPU that search by meaning runs on

BEAMS = 5
SHARE_OF_TITLES = 0.94
DIMENSIONS = (384, 768)
VECTOR_QUERIES = 4096
SCALED = 20
"""Which text bm25s's numpy backend is given."""

LIBRARIES = ("bm25s", "faiss-cpu", "numba", "numpy", "polars", "retriv")

Run = Callable[[], Any]
Times = dict[str, float]


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--distinct", action="store_true", help="also the worst case for words")
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main() -> None:
    """Parse, measure, print, write."""
    args = call_parser().parse_args()
    data = Dataset.load(args.data)
    gc.set_threshold(200_000, 20, 100)  # as the command line does
    report: dict[str, Any] = {"machine": _machine(), "rounds": args.rounds}
    report["retriv"] = _importable("retriv")
    report["words"] = [
        _told("words", _words(data, protocol, distinct, args.rounds))
        for distinct in ([False, True] if args.distinct else [False])
        for protocol in (PAPER, FAIR)
    ]
    items = len(data.catalogue("paper"))
    report["meaning"] = [
        _told("meaning", _meaning(items, dimension, k, args.rounds))
        for dimension in DIMENSIONS
        for k in (1, 20)
    ]
    report["whole evaluation"] = [
        _told("whole evaluation", _whole(data, protocol, args.rounds)) for protocol in (PAPER, FAIR)
    ]
    print(f"\nretriv {report['retriv']}\n{json.dumps(report['machine'], indent=1)}")
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


def _words(
    data: Dataset, protocol: EvaluationProtocol, distinct: bool, rounds: int
) -> dict[str, Any]:
    catalogue = data.catalogue(protocol.title_style)
    texts = _generated(data, catalogue, share=0 if distinct else SHARE_OF_TITLES, unique=distinct)
    retriever = build_index(catalogue, protocol.index_settings())
    marker = "Title: " if protocol.marker else ""
    marked = [marker + text for text in texts]
    runs: dict[str, Run] = {"ours": lambda: retriever.search(texts, protocol.per_query)}
    few = marked[::SCALED]
    runs["bm25s numba"] = _published(catalogue, marker, marked, protocol, "numba")
    runs["bm25s numpy"] = _published(catalogue, marker, few, protocol, "numpy")
    theirs = runs["bm25s numba"]()  # numba compiles
    seconds = _in_turns(runs, rounds)
    for clock in seconds["bm25s numpy"]:
        seconds["bm25s numpy"][clock] *= len(marked) / len(few)
    return {
        "protocol": protocol.name,
        "k": protocol.per_query,
        "texts": len(texts),
        "distinct texts": len(set(texts)),
        "catalogue titles": round(
            sum(bool(catalogue.rows_of_title(t)) for t in texts) / len(texts), 3
        ),
        "equal scores": _equal_scores(catalogue, marker, texts, protocol, theirs),
        "seconds": seconds,
    }


def _published(
    catalogue: Catalogue, marker: str, texts: list[str], protocol: EvaluationProtocol, backend: str
) -> Run:
    library = bm25s.BM25(backend=backend)
    titles = [marker + item.title for item in catalogue]
    library.index(bm25s.tokenize(titles, stopwords="en", show_progress=False), show_progress=False)

    def run() -> Any:
        tokens = bm25s.tokenize(texts, stopwords="en", show_progress=False)
        return library.retrieve(tokens, k=protocol.per_query, show_progress=False)

    return run


def _equal_scores(
    catalogue: Catalogue,
    marker: str,
    texts: Sequence[str],
    protocol: EvaluationProtocol,
    theirs: Any,
) -> dict[str, Any]:
    """Our scores of words alone beside bm25s's, text by text, for texts that found something."""
    settings = protocol.index_settings()
    ours = BM25.build(catalogue, settings).search(texts, protocol.per_query)
    compared = differing = 0
    largest = 0.0
    for hits, scores in zip(ours, theirs[1].tolist(), strict=True):
        mine = [hit.score for hit in hits]
        compared += len(mine)
        gaps = [abs(a - b) for a, b in zip(mine, scores, strict=False)]
        differing += sum(gap > 0 for gap in gaps)
        largest = max(largest, *gaps, 0.0)
    return {"compared": compared, "differing": differing, "largest difference": largest}


def _generated(data: Dataset, catalogue: Catalogue, *, share: float, unique: bool) -> list[str]:
    """BEAMS different titles for each test user."""
    rng = random.Random(0)
    examples = data.examples("test")
    bought = [catalogue.title(item) for example in examples for item in example.history]
    words = [word for title in catalogue.titles for word in title.split()]
    texts: list[str] = []
    taken: set[str] = set()
    for _ in examples:
        taken = taken if unique else set()
        wanted = len(texts) + BEAMS
        while len(texts) < wanted:
            title = rng.choice(bought)
            text = title if rng.random() < share else _perturbed(title, rng, catalogue, words)
            if text not in taken and not (unique and catalogue.rows_of_title(text)):
                taken.add(text)
                texts.append(text)
    return texts


def _perturbed(title: str, rng: random.Random, catalogue: Catalogue, words: Sequence[str]) -> str:
    own, other = title.split(), rng.choice(catalogue.titles).split()
    how = rng.randrange(3)
    if how == 0 and len(own) > 2:
        del own[rng.randrange(len(own))]
    elif how == 1:
        own[rng.randrange(len(own))] = rng.choice(words)
    else:
        own = own[: len(own) // 2 + 1] + other[len(other) // 2 :]
    return " ".join(own)


def _meaning(items: int, dimension: int, k: int, rounds: int) -> dict[str, Any]:
    import faiss

    vectors, queries = _directions(items, dimension, 0), _directions(VECTOR_QUERIES, dimension, 1)
    flat = faiss.IndexFlatIP(dimension)
    flat.add(vectors)
    scores = np.empty((items, 2048), dtype=np.float32)

    def limit() -> None:
        for start in range(0, len(queries), 2048):
            np.matmul(vectors, queries[start : start + 2048].T, out=scores)

    runs: dict[str, Run] = {
        "sgemm": limit,
        "ours": lambda: top_products(queries, vectors, k),
        "FAISS flat": lambda: flat.search(queries, k),
    }
    for run in runs.values():
        run()
    seconds = _in_turns(runs, rounds)
    products = 2 * items * len(queries) * dimension
    return {
        "dimension": dimension,
        "k": k,
        "items": items,
        "queries": len(queries),
        "GFLOP/s of sgemm": round(products / seconds["sgemm"]["wall"] / 1e9, 1),
        "rows unlike FAISS's": round(_unlike(queries, vectors, flat, k), 6),
        "seconds": seconds,
    }


def _directions(rows: int, dimension: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _unlike(queries: np.ndarray, vectors: np.ndarray, flat: Any, k: int) -> float:
    rows, _ = top_products(queries, vectors, k)
    return float((rows != flat.search(queries, k)[1]).mean())


def _whole(data: Dataset, protocol: EvaluationProtocol, rounds: int) -> dict[str, Any]:
    catalogue = data.catalogue(protocol.title_style)
    texts = iter(_generated(data, catalogue, share=SHARE_OF_TITLES, unique=False))
    examples = data.examples("test")
    entries = [
        {
            "reviewer_id": example.user,
            "asin": example.target,
            "seen_asins": example.history,
            "generated_sequences": [f"Title: {next(texts)}" for _ in range(BEAMS)],
        }
        for example in examples
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "generations.json"
        file.write_text(json.dumps(entries))
        stages.index(data.path, folder / "index", settings=protocol.index_settings())
        rounds_done = iter(range(rounds))

        def run() -> None:
            done = next(rounds_done)
            out = folder / f"ranking-{done}"
            stages.rank(file, folder / "index", out, protocol=protocol)
            stages.evaluate(out, data.path, folder / f"evaluation-{done}", protocol=protocol)

        seconds = _in_turns({"ours": run}, rounds)
    return {"protocol": protocol.name, "users": len(examples), "seconds": seconds}


def _in_turns(runs: dict[str, Run], rounds: int) -> dict[str, Times]:
    """Medians of wall-clock and CPU seconds; each round runs everybody once."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: {
            clock: round(statistics.median(times), 4)
            for clock, times in zip(("wall", "cpu"), zip(*pairs, strict=True), strict=True)
        }
        for name, pairs in taken.items()
    }


def _importable(name: str) -> str:
    try:
        import_module(name)
    except Exception as error:  # whatever stops it, the reader should know
        return f"cannot be imported: {type(error).__name__}: {error}"
    return "can be imported"


def _machine() -> dict[str, Any]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    blas = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]
    return {
        "processor": processor(),
        "blas": [f"{i['internal_api']} {i['version']} {i.get('architecture', '')}" for i in blas],
        "busy with (load average)": round(os.getloadavg()[0], 1),
        "libraries": versions,
    }


def _told(part: str, case: dict[str, Any]) -> dict[str, Any]:
    """The same case, printed."""
    told = ", ".join(f"{name} {value}" for name, value in case.items() if name != "seconds")
    print(f"\n{part}: {told}")
    ours = case["seconds"]["ours"]
    for name, times in case["seconds"].items():
        shares = {clock: times[clock] / ours[clock] for clock in times}
        print(
            f"  {name:12} {times['wall']:8.3f} s wall {times['cpu']:8.3f} s CPU"
            f"   {shares['wall']:6.2f} x ours in wall, {shares['cpu']:6.2f} x in CPU",
            flush=True,
        )
    return case


if __name__ == "__main__":
    main()
