"""Bundles that vouch for themselves and hold what they must not: what `gloss serve` opens.

Each is a change of a good bundle; its manifests are sealed anew over it, as whoever hands out a
bundle can do. `EVIL` is what must never run: it would leave a mark.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from campaign.artefacts import resealed
from gloss.artifacts import MANIFEST

__all__ = ["CASES", "MARK", "poisoned_trees", "serve"]

MARK = "it-ran"
"""The file that foreign code would leave in the folder above the bundle."""

Spoil = Callable[[Path], None]


class _Evil:
    """An object whose pickle runs a command when it is read."""

    def __init__(self, bundle: Path) -> None:
        self._mark = bundle.parent / MARK

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def serve(bundle: str) -> None:
    """Open a bundle as a service does, and ask it."""
    from gloss.recommender.rules import NO_RULES
    from gloss.serving.served import ServedBundle

    served = ServedBundle.open(Path(bundle))
    known = served.catalogue[0].id
    lists = served.recommend([(known,), ("Kite",), ()], 3, rules=NO_RULES, wish="a kite")
    assert all(len(made.items) == 3 for made in lists)
    assert len(served.search(["kite"], 3)) == 1


def _write(name: str, content: bytes | str) -> Spoil:
    """Put a file in the place of another, and reseal the artefact in which it lies."""

    def spoil(bundle: Path) -> None:
        file = bundle / name
        file.unlink(missing_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        _sealed(bundle, name)

    return spoil


def _sealed(bundle: Path, *names: str) -> None:
    """Let manifests list these files, and seal them."""
    for name in names:
        part = bundle / Path(name).parts[0]
        if (part / MANIFEST).is_file():
            _listed(part, name.partition("/")[2])
            resealed(part)
        _listed(bundle, name)
    resealed(bundle)


def _listed(folder: Path, name: str) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    document["files"].setdefault(name, {})
    (folder / MANIFEST).write_text(json.dumps(document))


def _json(name: str, **values: Any) -> Spoil:
    def spoil(bundle: Path) -> None:
        document = json.loads((bundle / name).read_bytes()) | values
        _write(name, json.dumps(document))(bundle)

    return spoil


def _config(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Change what the bundle's manifest says of it."""

    def spoil(bundle: Path) -> None:
        config = json.loads((bundle / MANIFEST).read_bytes())["config"]
        change(config)
        resealed(bundle, config=config)

    return spoil


def _array(name: str, change: Callable[[Any], Any]) -> Spoil:
    def spoil(bundle: Path) -> None:
        stream = io.BytesIO()
        np.save(stream, change(np.load(bundle / name)), allow_pickle=True)
        _write(name, stream.getvalue())(bundle)

    return spoil


def _pickled_array(name: str) -> Spoil:
    def spoil(bundle: Path) -> None:
        stream = io.BytesIO()
        np.save(stream, np.array([_Evil(bundle)], dtype=object), allow_pickle=True)
        _write(name, stream.getvalue())(bundle)

    return spoil


def _counts(change: Callable[[dict[str, Any], Path], Any]) -> Spoil:
    """Change what a ranker has counted."""

    def spoil(bundle: Path) -> None:
        name = "rankers/transitions/counts.npz"
        with np.load(bundle / name) as found:
            arrays = dict(found)
        change(arrays, bundle)
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        _write(name, stream.getvalue())(bundle)

    return spoil


def _evil_counts(arrays: dict[str, Any], bundle: Path) -> None:
    arrays[next(iter(arrays))] = np.array([_Evil(bundle)], dtype=object)


def _cut_counts(arrays: dict[str, Any], _bundle: Path) -> None:
    arrays["weights"] = arrays["weights"][:-1]


def _counts_of_no_row(arrays: dict[str, Any], _bundle: Path) -> None:
    arrays["neighbours"][0] = 2**31 - 1


def _counts_that_go_back(arrays: dict[str, Any], _bundle: Path) -> None:
    arrays["starts"][1] = 2**40


def _other_counts(arrays: dict[str, Any], _bundle: Path) -> None:
    arrays["evil"] = arrays.pop("weights")


def _pickled_weights(bundle: Path) -> None:
    (bundle / "model/model.safetensors").unlink()
    _write("model/pytorch_model.bin", pickle.dumps(_Evil(bundle)))(bundle)


def _pickle_as_weights(bundle: Path) -> None:
    _write("model/model.safetensors", pickle.dumps(_Evil(bundle)))(bundle)


def _code_of_its_own(bundle: Path) -> None:
    mark = bundle.parent / MARK
    _write("model/evil.py", f"open({str(mark)!r}, 'w')\nclass Model: pass\n")(bundle)
    _json("model/config.json", model_type="evil", auto_map={
        "AutoConfig": "evil.Model", "AutoModelForCausalLM": "evil.Model"})(bundle)  # fmt: skip


def _code_of_a_tokenizer(bundle: Path) -> None:
    mark = bundle.parent / MARK
    (bundle / "model/tokenizer.json").unlink()
    _write("model/evil.py", f"open({str(mark)!r}, 'w')\nclass Model: pass\n")(bundle)
    auto_map = {"AutoTokenizer": ["evil.Model", "evil.Model"]}
    _json("model/tokenizer_config.json", tokenizer_class="Evil", auto_map=auto_map)(bundle)


def _weights(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    def spoil(bundle: Path) -> None:
        from safetensors.numpy import load_file, save

        tensors = load_file(bundle / "model/model.safetensors")
        change(tensors)
        _write("model/model.safetensors", save(tensors, {"format": "pt"}))(bundle)

    return spoil


def _outside(name: str) -> Spoil:
    """A file that is a link to one outside, with the bytes that were there."""

    def spoil(bundle: Path) -> None:
        outside = bundle.parent / "outside"
        (bundle / name).rename(outside)
        (bundle / name).symlink_to(outside)

    return spoil


def _listed_outside(bundle: Path) -> None:
    (bundle.parent / "outside").write_text("x")
    _listed(bundle, "../outside")
    resealed(bundle)


def _renamed(config: dict[str, Any]) -> None:
    config["rankers"][0]["name"] = "../../transitions"


def poisoned_trees(files: dict[str, str], old: str, new: str) -> dict[str, str]:
    """Fitted trees with a text in another's place, where it stands first."""
    assert old in files["trees.txt"], old
    return files | {"trees.txt": files["trees.txt"].replace(old, new, 1)}


_NPY_OF_10_TO_THE_12 = (
    b"\x93NUMPY\x01\x00"
    + (60).to_bytes(2, "little")
    + b"{'descr': '<i8', 'fortran_order': False, 'shape': (10**12,)}"[:59].ljust(59)
    + b"\n"
)

CASES: dict[str, Spoil] = {
    "a pickle in counts": _counts(_evil_counts),
    "a pickle in purchases": _pickled_array("times-bought.npy"),
    "a pickle in the index": _pickled_array("index/data.npy"),
    "weights that are a pickle": _pickled_weights,
    "a pickle named safetensors": _pickle_as_weights,
    "code of the model": _code_of_its_own,
    "code of the tokenizer": _code_of_a_tokenizer,
    "a file listed outside": _listed_outside,
    "a link that leads out": _outside("times-bought.npy"),
    "a link of weights that leads out": _outside("model/model.safetensors"),
    "a ranker named as a path": _config(_renamed),
    "a ranker that nobody knows": _config(lambda c: c["rankers"][0].update(name="evil")),
    "a fusion named as a path": _config(lambda c: c.update(fusion="../model")),
    "a head of weights of 2^60 bytes": _write(
        "model/model.safetensors", (2**60).to_bytes(8, "little") + b"{}"
    ),
    "a head of 10^12 numbers": _write("times-bought.npy", _NPY_OF_10_TO_THE_12),
    "a billion layers": _json("model/config.json", num_hidden_layers=10**9),
    "purchases of another shape": _array("times-bought.npy", lambda bought: bought[:-1]),
    "purchases that are texts": _array("times-bought.npy", lambda bought: bought.astype(str)),
    "counts cut short": _counts(_cut_counts),
    "counts of a row that is not there": _counts(_counts_of_no_row),
    "counts that go back": _counts(_counts_that_go_back),
    "other counts": _counts(_other_counts),
    "weights of another shape": _weights(
        lambda tensors: tensors.update({name: tensor[:1] for name, tensor in tensors.items()})
    ),
    "a weight that is no number": _weights(
        lambda tensors: next(iter(tensors.values())).__setitem__(0, np.nan)
    ),
    "a catalogue that is no Parquet": _write("catalogue.parquet", b"PAR1" + bytes(64) + b"PAR1"),
    "another index": _write("index/vocabulary.json", "[]"),
    "weights of a fusion that are texts": _write("fusion/weights.json", '{"weights": ["x"]}'),
}
