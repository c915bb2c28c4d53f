"""What can go wrong, as one tree. The command line prints these as one line, without a traceback.

GlossError
├── UsageError            the call is wrong: exit code 2
│   ├── ConfigError       a setting is unknown, missing or impossible
│   └── MissingExtraError a part of the package that is not installed was asked for
├── InputError            a file of the user's is absent, damaged or something else: exit code 1
└── ArtifactError         an artefact is damaged, or was made from something else: exit code 1
    └── BeingReplacedError   another process has put a new version in its place: try again
"""

from __future__ import annotations

from importlib import import_module

__all__ = [
    "ArtifactError",
    "BeingReplacedError",
    "ConfigError",
    "GlossError",
    "InputError",
    "MissingExtraError",
    "UsageError",
    "require_extra",
]


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
        super().__init__(f'{purpose} needs an extra: pip install "gloss-rec[{extra}]"')


class InputError(GlossError):
    """A file given by the user cannot be read as what it should be."""


class ArtifactError(GlossError):
    """An artefact is damaged, unfinished, of another kind, or was made from something else."""


class BeingReplacedError(ArtifactError):
    """An artefact was replaced by another process while it was read; trying again helps."""


def require_extra(purpose: str, extra: str, *packages: str) -> None:
    """Raise MissingExtraError unless these packages of an extra can be imported."""
    for package in packages:
        try:
            import_module(package)
        except ImportError:
            raise MissingExtraError(purpose, extra) from None
