"""Artefacts that vouch for themselves and hold what they must not: one line each, whatever it is.

    python -m campaign --only hostile

What a flipped bit cannot make: content changed with a purpose, and the manifest sealed anew over
it, as in somebody else's run or a bundle from a bucket.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from campaign.artefacts import copied, resealed
from campaign.ledger import Row, judged
from processes import Processes

__all__ = ["CASES", "Case", "try_all", "try_one"]

_SECONDS = 60.0

Spoil = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A change to an artefact. function: of natives.py, which reads it."""

    name: str
    artefact: str
    function: str
    spoil: Spoil


def try_all(processes: Processes, made: dict[str, Path], folder: Path) -> list[Row]:
    """Every case once, a row for each kind of artefact."""
    rows: dict[str, Row] = {}
    for artefact, function in {(case.artefact, case.function): None for case in CASES}:
        if artefact in made:
            row = rows.setdefault(artefact, Row("hostile", artefact))
            row.add(
                *try_one(processes, Case("as it is", artefact, function, _as_it_is), made, folder)
            )
    for case in CASES:
        if case.artefact in made:
            row = rows.setdefault(case.artefact, Row("hostile", case.artefact))
            row.add(*try_one(processes, case, made, folder))
    return [*rows.values()]


def try_one(
    processes: Processes, case: Case, made: dict[str, Path], folder: Path
) -> tuple[str, str]:
    """What became of a case, and what was said. To end well is bad here, unless nothing is
    changed."""
    spoiled = copied(made[case.artefact], folder / "spoiled")
    case.spoil(spoiled)
    resealed(spoiled)
    function = f"campaign.natives:{case.function}"
    ended = processes.call(function, str(spoiled), str(made["data set"]), limit=_SECONDS)
    outcome = judged(ended)
    said = f"{case.name}, signal {ended.signal}: {ended.stderr[-800:]}"
    if case.spoil is _as_it_is:
        return ("well" if outcome == "well" else "changed"), said
    return ("changed" if outcome == "well" else outcome), said


def _as_it_is(_folder: Path) -> None:
    pass


def _rows(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the first row of the first shard of generations."""
    file = folder / "part-00000.jsonl"
    first, *others = file.read_text("utf-8").split("\n")
    row = json.loads(first)
    changed = change(row)
    line = changed if isinstance(changed, str) else json.dumps(row)
    file.write_text("\n".join([line, *others]), "utf-8")


def _set(**values: Any) -> Spoil:
    return partial(_rows, change=lambda row: row.update(values))


def _without(key: str) -> Spoil:
    return partial(_rows, change=lambda row: row.pop(key) and None)


def _line(text: str) -> Spoil:
    return partial(_rows, change=lambda row: text)


def _json(name: str, **values: Any) -> Spoil:
    """Set fields of a JSON file."""

    def spoil(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_bytes()) | values))

    return spoil


def _text(name: str, content: str | bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def _array(name: str, change: Callable[[Any], Any]) -> Spoil:
    """Change an array that lies in a file of its own."""

    def spoil(folder: Path) -> None:
        changed = change(np.load(folder / name))
        stream = io.BytesIO()
        np.save(stream, changed, allow_pickle=True)
        (folder / name).write_bytes(stream.getvalue())

    return spoil


def _put(place: int, value: Any) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array.flat[place] = value
        return array

    return change


def _weights(name: str, change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Change the tensors of a safetensors file, as numpy arrays by name."""

    def spoil(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name, {"format": "pt"})

    return spoil


def _first(value: float) -> Callable[[dict[str, Any]], Any]:
    def change(tensors: dict[str, Any]) -> None:
        next(iter(tensors.values())).flat[0] = value

    return change


def _frame(name: str, change: Callable[[Any], Any]) -> Spoil:
    """Change a table. This runs where processes are watched, which are no forks of it."""

    def spoil(folder: Path) -> None:
        import polars as pl

        change(pl.read_parquet(folder / name)).write_parquet(folder / name)

    return spoil


def _column(name: str, column: str, value: Any) -> Spoil:
    """Put a value, a Python one, into the first row of a column of a table."""
    import polars as pl

    def change(frame: Any) -> Any:
        values = frame[column].to_list()
        return frame.with_columns(pl.Series(column, [value, *values[1:]], strict=False))

    return _frame(name, change)


def _index_file(*names: str) -> Spoil:
    """A model whose index sends every tensor to other files; the manifest lists the index."""

    def spoil(folder: Path) -> None:
        from safetensors import safe_open

        with safe_open(folder / "model.safetensors", "np") as file:
            weights = {key: names[n % len(names)] for n, key in enumerate(file.keys())}
        _also(folder, "model.safetensors.index.json", json.dumps({"weight_map": weights}))
        (folder / "model.safetensors").unlink()

    return spoil


def _also(folder: Path, name: str, content: str) -> None:
    """Another file, which the manifest is to list."""
    (folder / name).write_text(content)
    manifest = folder / "manifest.json"
    document = json.loads(manifest.read_bytes())
    document["files"][name] = {}
    manifest.write_text(json.dumps(document))


def _tree(old: str, new: str) -> Spoil:
    """Replace a text in fitted trees, where it stands first."""

    def spoil(folder: Path) -> None:
        file = folder / "trees.txt"
        text = file.read_text()
        assert old in text, old
        file.write_text(text.replace(old, new, 1))

    return spoil


_GENERATIONS = {
    "no titles": _without("titles"),
    "no user": _without("user"),
    "a user that is a number": _set(user=3),
    "titles that are numbers": _set(titles=[1, 2, 3, 4]),
    "more log-probabilities than titles": _set(titles=[]),
    "a log-probability that is a text": _set(titles=["a"], logprobs=["-1"]),
    "a log-probability that is no number": _set(titles=["a"], logprobs=[float("nan")]),
    "a probability above one": _set(titles=["a"], logprobs=[1e300]),
    "a history that is a text": _set(history="b1"),
    "a history of nothing": _set(history=[None]),
    "a title with half a surrogate": _line(
        '{"user": "u", "history": [], "titles": ["\\ud800"], "logprobs": [-1.0]}'
    ),
    "a row that is a list": _line("[]"),
    "a row that is no JSON": _line("{"),
    "a row nested a hundred thousand times": _line("[" * 100_000),
    "a number of five thousand digits": _line('{"user": ' + "1" * 5000 + "}"),
}
_MODELS = {
    "a billion layers": _json("config.json", num_hidden_layers=10**9),
    "a vocabulary of two billion": _json("config.json", vocab_size=2**31 - 1),
    "a width of a billion": _json("config.json", hidden_size=10**9, intermediate_size=10**9),
    "no heads": _json("config.json", num_attention_heads=0),
    "a width that is a text": _json("config.json", hidden_size="x"),
    "a type that nobody knows": _json("config.json", model_type="evil"),
    "code of its own": _json(
        "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"}, model_type="evil"
    ),
    "a config that is a list": _text("config.json", "[]"),
    "a config nested too deeply": _text("config.json", "[" * 100_000),
    "a weight that is no number": _weights("model.safetensors", _first(float("nan"))),
    "a weight that is infinite": _weights("model.safetensors", _first(float("inf"))),
    "no weights": _weights("model.safetensors", dict.clear),
    "another network's weight is no number": _weights(
        "network-1/model.safetensors", _first(float("nan"))
    ),
    "another network of a billion layers": _json("network-1/config.json", num_hidden_layers=10**9),
    "an index that names a pickle": _index_file("evil.bin"),
    "an index that names a file outside": _index_file("../outside.safetensors"),
    "an index that names an absolute path": _index_file("/etc/passwd.safetensors"),
    "a template without a title": _json("prompt.json", item="x"),
    "a template that is a list": _text("prompt.json", "[1]"),
    "a template of numbers": _json("prompt.json", header=1),
    "a tokenizer that is a list": _text("tokenizer.json", "[]"),
    "a tokenizer nested too deeply": _text("tokenizer.json", "[" * 100_000),
    "a head of weights of 2^60 bytes": _text(
        "model.safetensors", (2**60).to_bytes(8, "little") + b"{}"
    ),
}
_DENSE = {
    "a vector that is no number": _array("vectors.npy", _put(0, np.nan)),
    "a vector too few": _array("vectors.npy", lambda vectors: vectors[1:]),
    "vectors of one number": _array("vectors.npy", lambda vectors: vectors[:, :1]),
    "one long vector": _array("vectors.npy", np.ravel),
    "vectors of texts": _array("vectors.npy", lambda vectors: vectors.astype(str)),
    "a graph that is no graph": _text("neighbours.faiss", b"IHNf" + bytes(200)),
}
_LEXICAL = {
    "a term score that is no number": _array("data.npy", _put(0, np.nan)),
    "term scores that are objects": _array("data.npy", lambda data: data.astype(object)),
    "term scores that are whole numbers": _array("data.npy", lambda data: data.astype(np.int64)),
    "a row that is not there": _array("indices.npy", _put(0, 2**31 - 1)),
    "a row below nought": _array("indices.npy", _put(0, -1)),
    "columns that go back": _array("indptr.npy", _put(1, 2**40)),
    "columns that end early": _array("indptr.npy", lambda indptr: indptr[:2]),
    "a word without a column": _json("vocabulary.json", kite=2**40),
    "a column that is a text": _json("vocabulary.json", kite="x"),
    "a vocabulary that is a list": _text("vocabulary.json", "[]"),
    "a head of 10^12 numbers": _text(
        "data.npy",
        b"\x93NUMPY\x01\x00"
        + (54).to_bytes(2, "little")
        + b"{'descr': '<f4','fortran_order': False,'shape': (10**12,)}\n"[:54],
    ),
    "a title that is not there": _column("catalogue.parquet", "title", None),
    "an item that is not there": _column("catalogue.parquet", "item", None),
    "a catalogue of numbers": _frame("catalogue.parquet", lambda frame: frame[["item"]]),
    "a catalogue that is empty": _frame("catalogue.parquet", lambda frame: frame.clear()),
    "a catalogue of one item": _frame("catalogue.parquet", lambda frame: frame.head(1)),
}
_DATA = {
    "a title that is not there": _column("catalogue.parquet", "title", None),
    "an id that is not there": _column("catalogue.parquet", "item", None),
    "no titles": _frame("catalogue.parquet", lambda frame: frame.drop("title")),
    "a user that is not there": _column("train.parquet", "user", None),
    "a purchase of nothing": _column("train.parquet", "history", [None]),
    "a purchase that no catalogue knows": _column("train.parquet", "target", "evil"),
    "purchases that are a text": _frame(
        "train.parquet", lambda frame: frame.select("user", history="target", target="target")
    ),
    "no Parquet at all": _text("train.parquet", b"PAR1" + bytes(64) + b"PAR1"),
}
_RANKINGS = {
    "a score that is no number": _column("ranking.parquet", "scores", [float("nan")]),
    "a score that is infinite": _column("ranking.parquet", "scores", [float("inf")]),
    "more items than scores": _column("ranking.parquet", "scores", []),
    "an item that is not there": _column("ranking.parquet", "items", [None]),
    "a user that is not there": _column("ranking.parquet", "user", None),
    "no lists": _frame("ranking.parquet", lambda frame: frame.select("user")),
    "lists that are numbers": _frame("ranking.parquet", lambda frame: frame.with_columns(items=1)),
}
_FUSED = {
    "a child that is its own parent": _tree("left_child=", "left_child=0 "),
    "a leaf that is no number": _tree("leaf_value=", "leaf_value=nan "),
    "two billion leaves": _tree("num_leaves=", "num_leaves=2147483647"),
    "a feature that is not there": _tree("max_feature_idx=", "max_feature_idx=9"),
    "no users": _json("trees.json", users=-1),
    "users that are a text": _json("trees.json", users="many"),
    "an empty text": _text("trees.txt", ""),
}
_SASREC = {
    "a weight that is no number": _weights("network-0.safetensors", _first(float("nan"))),
    "no weights": _weights("network-0.safetensors", dict.clear),
    "weights of another shape": _weights(
        "network-0.safetensors", lambda w: w.update({k: v[:1] for k, v in w.items()})
    ),
}
_EVALUATIONS = {
    "a figure that is no number": _column("per_user.parquet", "recall@5", float("nan")),
    "a figure above one": _column("per_user.parquet", "recall@5", 1e9),
    "figures that are texts": _frame(
        "per_user.parquet", lambda frame: frame.with_columns(frame["user"].alias("recall@5"))
    ),
    "no users": _frame("per_user.parquet", lambda frame: frame.drop("user")),
    "figures without a whole": _text("metrics.json", "{}"),
    "figures that are a list": _text("metrics.json", "[]"),
    "a mean that is a text": _json(
        "metrics.json", overall={"users": 1, "metrics": {"recall@5": {"mean": "x"}}}
    ),
}

CASES = tuple(
    Case(name, artefact, function, spoil)
    for artefact, function, spoils in (
        ("generations", "read_generations", _GENERATIONS),
        ("language model", "read_model_and_template", _MODELS),
        ("index, dense", "search_index", _DENSE),
        ("index, lexical", "search_index", _LEXICAL),
        ("data set", "read_data", _DATA),
        ("ranking", "read_ranking", _RANKINGS),
        ("ranking, fused", "read_fusion", _FUSED),
        ("ranker, trained", "read_sasrec", _SASREC),
        ("evaluation", "read_figures", _EVALUATIONS),
    )
    for name, spoil in spoils.items()
)
