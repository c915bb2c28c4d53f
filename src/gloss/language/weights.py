"""What a model folder may hold, seen before any library reads it: safetensors of its own, and a
configuration that is no larger than they are.

transformers takes the names of its files from an index in the folder, also those of pickles, which
may run anything, and those of files elsewhere; and it builds the network of a configuration,
however large, before it looks at a weight. Knows files; loads nothing and needs no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gloss.errors import InputError, reason_of

__all__ = ["require_safe_model", "require_safe_names"]

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*\.safetensors")
_MAX_JSON_BYTES = 100_000_000
_MAX_NUMBER = 2**40
_COUNTS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_decoder_layers")
"""Settings that cannot be larger than the number of tensors."""
_LENGTHS = (
    *("vocab_size", "hidden_size", "intermediate_size", "d_model", "d_ff", "ffn_dim"),
    *("n_embd", "n_inner", "embedding_size", "word_embed_proj_dim", "num_local_experts"),
)
"""Settings that cannot be larger than the longest side of any tensor."""


def require_safe_model(folder: Path) -> None:
    """Raise InputError, naming the file, unless a folder's weights are safetensors in it, and its
    config.json fits them."""
    require_safe_names(folder)
    file = folder / "config.json"
    if not file.is_file():
        return  # whoever loads it says what is missing
    config = _json_of(file)
    shapes = [shape for each in _weight_files(folder) for shape in _shapes_in(each)]
    if not shapes:
        raise InputError(f"{folder} has no weights as safetensors; other formats are not loaded")
    longest = max((side for shape in shapes for side in shape), default=1)
    for name, number in _numbers(config):
        limit = _MAX_NUMBER
        if name in _COUNTS:
            limit = len(shapes)
        elif name in _LENGTHS:
            limit = longest
        if number > limit:
            raise InputError(f"{file} is damaged: {name} is {number}, which its weights are not")


def require_safe_names(folder: Path) -> None:
    """Raise InputError if an index of weights names anything but safetensors in the folder."""
    if not (folder / _INDEX).is_file():
        return
    for name in _names_in(folder / _INDEX):
        if not _SAFE_NAME.fullmatch(name):
            raise InputError(
                f"{folder / _INDEX} names {name!r:.100}: weights are safetensors in the same folder"
            )


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers would load, in its order of preference."""
    if (folder / _SINGLE).is_file() or not (folder / _INDEX).is_file():
        return [folder / _SINGLE] if (folder / _SINGLE).is_file() else []
    files = [folder / name for name in sorted(set(_names_in(folder / _INDEX)))]
    for file in files:
        if not file.is_file():
            raise InputError(f"{file} is missing: {_INDEX} names it")
    return files


def _names_in(index: Path) -> list[str]:
    weights = _json_of(index).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(n, str) for n in weights.values()):
        raise InputError(f"{index} is damaged: it does not say where the weights are")
    return list(weights.values())


def _shapes_in(file: Path) -> list[list[int]]:
    """The shapes of a file's tensors: its head is a length in eight bytes, then JSON."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _MAX_JSON_BYTES:
            raise InputError(f"{file} is damaged: its head has {length:,} bytes")
        head = _parsed(stream.read(length), file)
    tensors = [each for name, each in head.items() if name != "__metadata__"]
    shapes = [each.get("shape") if isinstance(each, dict) else None for each in tensors]
    if not all(isinstance(shape, list) and all(map(_is_length, shape)) for shape in shapes):
        raise InputError(f"{file} is damaged: a tensor has no shape")
    return [shape for shape in shapes if shape is not None]


def _is_length(side: Any) -> bool:
    return type(side) is int and side >= 0


def _json_of(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _MAX_JSON_BYTES:
        raise InputError(f"{file} is damaged: it is larger than any of its kind")
    return _parsed(file.read_bytes(), file)


def _parsed(content: bytes, file: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged: {reason_of(error)}") from None
    if not isinstance(found, dict):
        raise InputError(f"{file} is damaged: its content is not what it should be")
    return found


def _numbers(config: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a configuration, also of those within it, by name."""
    if isinstance(config, dict):
        for inner, value in config.items():
            yield from _numbers(value, inner)
    elif isinstance(config, list):
        for value in config:
            yield from _numbers(value, name)
    elif isinstance(config, int) and not isinstance(config, bool):
        yield name, config
