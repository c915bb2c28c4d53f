"""Keys and their scopes. A key's text is never kept: only its SHA-256, which is enough for 256
random bits, and is compared with every known key in constant time."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from gloss.errors import ConfigError, InputError

__all__ = ["SCOPES", "Key", "Keys", "Scope", "new_key"]

Scope = Literal["recommend", "catalogue", "events", "metrics", "admin"]
"""recommend: lists and reading the catalogue. catalogue: changing it. events: purchases and the
data of users. metrics: counters. admin: reloading."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

_PREFIX = "gloss_"


class Key(BaseModel):
    """A key as it is kept: its name, what it may do, and the hash of its text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    scopes: tuple[Scope, ...]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a service; without any, everybody who can reach it may do everything."""

    keys: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys)

    @classmethod
    def read(cls, text: str, where: str) -> Keys:
        """Keys from JSON: {"keys": [{"name": …, "scopes": […], "sha256": …}]}."""
        try:
            return cls(_File.model_validate_json(text).keys)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = "/".join(map(str, first["loc"]))
            raise InputError(f"{where} holds no keys of ours: {place}: {first['msg']}") from None

    @classmethod
    def of_file(cls, path: Path) -> Keys:
        """The keys of a file. Raises InputError."""
        try:
            return cls.read(path.read_text("utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}") from None

    def to_json(self) -> str:
        """What `read` reads."""
        return _File(keys=self.keys).model_dump_json(indent=1) + "\n"

    def with_key(self, key: Key) -> Keys:
        """With one more. Raises ConfigError when its name is taken."""
        if any(each.name == key.name for each in self.keys):
            raise ConfigError(f"there is a key named {key.name!r} already")
        return Keys((*self.keys, key))

    def find(self, presented: str) -> Key | None:
        """The key of this text. Takes as long for a wrong one as for a right one."""
        digest = sha256(presented.encode("utf-8", "replace")).hexdigest()
        found = None
        for key in self.keys:
            if compare_digest(key.sha256, digest):
                found = key
        return found


def new_key(name: str, scopes: Iterable[Scope]) -> tuple[str, Key]:
    """A fresh key: its text, which nobody can find out again, and what is kept of it."""
    text = _PREFIX + secrets.token_urlsafe(32)
    return text, Key(name=name, scopes=tuple(scopes), sha256=sha256(text.encode()).hexdigest())
