"""What can go wrong, as one tree. The command line prints these as one line, without a traceback.

GlossError
├── UsageError            the call is wrong: exit code 2
│   ├── ConfigError       a setting is unknown, missing or impossible
│   └── MissingExtraError a part of the package that is not installed was asked for
├── InputError            a file of the user's is absent, damaged or something else: exit code 1
└── ArtifactError         an artefact is damaged, or was made from something else: exit code 1
    └── BeingReplacedError   another process has put a new version in its place: try again

Below the tree stand the pieces that messages are made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Protocol, TypeVar

__all__ = [
    "ArtifactError",
    "BeingReplacedError",
    "ConfigError",
    "GlossError",
    "InputError",
    "MissingExtraError",
    "UsageError",
    "did_you_mean",
    "escaped_for_json",
    "is_out_of_memory",
    "is_panic",
    "named",
    "nothing_to_install",
    "on_one_line",
    "pip_line",
    "reason_of",
    "require_extra",
]


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, bidirectional embeddings, overrides and isolates, and lone surrogates."""


_LONGEST_REASON = 300
"""Letters of what a library says; some repeat all of a file."""


class GlossError(Exception):
    """Base of every error that GLoSS raises on purpose; its text is written for the reader."""

    exit_code = 1


class UsageError(GlossError):
    """The call itself is wrong; nothing was done."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, missing or impossible; the text names it."""


class MissingExtraError(UsageError):
    """An optional part is not installed; the text names the pip line that installs it."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an extra: {pip_line(extra)}")


class InputError(GlossError):
    """A file given by the user cannot be read as what it should be."""


class ArtifactError(GlossError):
    """An artefact is damaged, unfinished, of another kind, or was made from something else."""


class BeingReplacedError(ArtifactError):
    """An artefact was replaced by another process while it was read; trying again helps."""


def nothing_to_install() -> None:
    """The `require_installed` of what needs no extra."""


def require_extra(purpose: str, extra: str, *packages: str) -> None:
    """Raise MissingExtraError unless these packages of an extra can be imported."""
    for package in packages:
        try:
            import_module(package)
        except ImportError:
            raise MissingExtraError(purpose, extra) from None


def pip_line(extra: str) -> str:
    """How to install an extra. There is no release yet, so it is installed from a checkout.

    >>> pip_line("train")
    'pip install ".[train]" in the checkout of GLoSS'
    """
    return f'pip install ".[{extra}]" in the checkout of GLoSS'


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, or all of them if none is near.

    >>> did_you_mean("beems", ["beams", "cut"])
    'did you mean beams?'
    >>> did_you_mean("speed", ["beams", "cut"])
    'known: beams, cut'
    """
    names = list(known)
    by_lower = {each.lower(): each for each in names}
    near = get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean {by_lower[near[0]]}?" if near else f"known: {', '.join(names)}"


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


_Spec = TypeVar("_Spec", bound=_HasName)


def named(name: str, specs: Iterable[_Spec], *, what: str) -> _Spec:
    """The one of that name; ConfigError, naming the nearest, if there is none."""
    known = {spec.name: spec for spec in specs}
    if name in known:
        return known[name]
    raise ConfigError(f"unknown {what} {name!r} ({did_you_mean(name, known)})")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the system had no more memory to give: Python's error, or PyTorch's for
    a GPU (told by its name, so that nothing imports PyTorch for it) and for the CPU."""
    named_so = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named_so or "can't allocate memory" in str(error)


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust has given up: that is no Exception, and none of its names
    can be imported."""
    return type(error).__name__ == "PanicException"


def reason_of(error: BaseException) -> str:
    """What a library's error says, on one line and not at length; its name if it says nothing.

    >>> reason_of(ValueError("no tree\\nat line 3")), reason_of(KeyError("titles"))
    ('no tree', "no 'titles'")
    """
    said = str(error).strip().split("\n")[0][:_LONGEST_REASON]
    if isinstance(error, KeyError):
        return f"no {said}"
    return said or type(error).__name__


def on_one_line(text: str) -> str:
    r"""Text of others as it may be printed: one line, with control characters made visible.

    An escape sequence in a path or title could otherwise clear the terminal, and a bidirectional
    override (U+202E) could turn a name around.

    >>> on_one_line("no\n  file \x1b[2Jx")
    'no file \\x1b[2Jx'
    """
    lines = (line.strip() for line in text.splitlines())
    return _CONTROLS.sub(_escaped, " ".join(line for line in lines if line))


def escaped_for_json(line: str) -> str:
    r"""A line of JSON that prints no control character and means the same.

    >>> escaped_for_json('{"title": "\x9b2Jkite"}')
    '{"title": "\\u009b2Jkite"}'
    """
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
