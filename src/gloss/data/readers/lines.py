"""Lines of text files, plain or gzip, with their numbers; the bad ones are counted and named.

Knows files and characters; knows nothing of what the lines mean.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from gloss.errors import InputError

__all__ = [
    "BadLine",
    "BadLines",
    "input_errors",
    "is_well_formed",
    "json_object",
    "on_one_line",
    "parse_lines",
    "read_lines",
    "repair_text",
]

Parsed = TypeVar("Parsed")

_NAMED = 3
_REASON_LENGTH = 120
_GZIP_MAGIC = b"\x1f\x8b"


class BadLine(ValueError):
    """Why one line cannot be used, in words; caught by the reader that counts it."""


class BadLines:
    """The lines that could not be read, over all files of one reading.

    Without `--max-bad-lines` none is allowed: `check` then raises for the first. `repaired` counts
    texts that held half a character and could be used all the same.
    """

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.count = 0
        self.repaired = 0
        self._first: list[str] = []

    def add(self, path: Path, line: int, reason: str, *, lines: int = 1) -> None:
        """Note a bad line by its number, from 1; `lines` counts a row that runs over several."""
        self.count += lines
        if len(self._first) < _NAMED:
            self._first.append(f"{path}:{line}: {on_one_line(reason)}")

    @property
    def named(self) -> tuple[str, ...]:
        """The first bad lines, each with what is wrong with it."""
        return tuple(self._first)

    def check(self) -> None:
        """Raise InputError that names the first bad lines, if there are more than allowed."""
        if self.count <= self.allowed:
            return
        more = self.count - len(self._first)
        named = "; ".join(self._first) + (f"; and {more} more" if more > 0 else "")
        what = "1 line" if self.count == 1 else f"{self.count} lines"
        raise InputError(
            f"{what} cannot be read ({self.allowed} allowed): {named}. "
            f"Mend the file, or leave such lines out with --max-bad-lines {self.count}"
        )


def read_lines(
    path: Path, bad: BadLines, *, shown: Path | None = None
) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers from 1, line ends kept, no byte-order mark.

    Files are gzip if they are named so or begin so. A line that is not UTF-8 is noted in `bad` and
    left out. `shown` is what a person calls the file, if not `path`. Raises InputError when it is
    absent, empty, or a gzip file that is damaged.
    """
    number = 0
    shown = shown or path
    with input_errors(shown), _opened(path) as stream:
        for number, raw in enumerate(stream, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                bad.add(shown, number, f"not UTF-8 (byte {error.start + 1} of the line)")
                continue
            yield number, text
    if number == 0:
        raise InputError(f"{shown} is empty")


def parse_lines(
    path: Path, parse: Callable[[str], Parsed], bad: BadLines, *, shown: Path | None = None
) -> Iterator[tuple[int, Parsed]]:
    """What `parse` makes of each line that is not blank, with the line's number.

    A line for which `parse` raises BadLine is noted in `bad` and left out. Errors of `read_lines`.
    """
    for number, text in read_lines(path, bad, shown=shown):
        if text.isspace():
            continue
        try:
            parsed = parse(text)
        except BadLine as reason:
            bad.add(shown or path, number, str(reason))
        else:
            yield number, parsed


@contextmanager
def input_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is read into one InputError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _unfinished(path, "gzip", error) from None
    except zipfile.BadZipFile as error:
        raise _unfinished(path, "ZIP", error) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def _unfinished(path: Path, kind: str, error: Exception) -> InputError:
    return InputError(
        f"{path} is a damaged or unfinished {kind} file ({on_one_line(error)}): "
        "delete it and get it again"
    )


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that a line holds; raises BadLine saying why it holds none."""
    try:
        entry = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not usable JSON: {error}") from None
    if not isinstance(entry, dict):
        raise BadLine("not an object with fields")
    return entry


def is_well_formed(text: str) -> bool:
    """Whether a text has no lone half of a surrogate pair, which no file could hold.

    JSON and Python literals can spell such halves ("\\ud800").
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def repair_text(text: str) -> str:
    """Join the two halves of surrogate pairs; lone halves become U+FFFD.

    >>> repair_text("\\ud83d\\ude00 and \\ud800")
    '😀 and �'
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _opened(path: Path) -> IO[bytes]:
    file = path.open("rb")
    if path.suffix == ".gz" or file.peek(2)[:2] == _GZIP_MAGIC:
        # Iterating a BufferedReader runs in C; iterating a GzipFile calls Python for each line.
        return io.BufferedReader(_Gunzip(file))
    return file


class _Gunzip(gzip.GzipFile):
    """A gzip stream that closes the file under it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        super().__init__(fileobj=file, mode="rb")

    def close(self) -> None:
        super().close()
        self._file.close()


def on_one_line(reason: object) -> str:
    """A message of another library, without its line breaks and not too long."""
    text = " ".join(str(reason).split())
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"
