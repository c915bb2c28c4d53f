"""Any text file as plain UTF-8 with lines that end in one way: unpacked, decoded, line ends mended.

Encodings are judged by the whole file, not by its beginning: a catalogue may be ASCII for a million
lines. A file that is plain already is used where it lies. Knows bytes; knows nothing of columns.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gloss.data.readers.lines import input_errors, on_one_line
from gloss.errors import InputError, UsageError, require_extra

__all__ = ["COMPRESSIONS", "PlainText", "opened", "plain_text"]

COMPRESSIONS = (".gz", ".zst", ".zip")

_CHUNK = 1 << 20
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 comes first: its little-endian mark begins with that of UTF-16."""

_NOT_IN_CP1252 = frozenset(b"\x81\x8d\x8f\x90\x9d")
_SAMPLE_FOR_NULS = 4096


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text that lies at `path` as UTF-8; lines end in `newline`, "\\n" or "\\r\\n"."""

    path: Path
    encoding: str
    newline: str


def plain_text(
    path: Path, workspace: Path, *, encoding: str | None = None, is_inherited: bool = False
) -> PlainText:
    """The text of a file, in `workspace` if it had to be unpacked, decoded or mended.

    An encoding that is inherited was said about another file: it holds where no other shows.

    Raises InputError when the file is absent, empty or cannot be unpacked or decoded; UsageError
    when Python knows no such encoding.
    """
    _check_encoding(encoding)
    with input_errors(path):
        found = _survey(path)
        if found.is_empty:
            raise InputError(f"{path} is empty")
        is_shown = found.encoding not in ("cp1252", "latin-1")
        chosen = found.encoding if encoding is None or (is_inherited and is_shown) else encoding
        if not found.needs_mending and codecs.lookup(chosen).name == found.encoding == "utf-8":
            return PlainText(path, "utf-8", found.newline)
        target = workspace / f"text-{len(list(workspace.iterdir()))}.txt"
        _rewrite(path, target, chosen, returns_end_lines=found.has_only_returns)
    return PlainText(target, chosen.removesuffix("-sig"), "\n")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked if it is gzip, Zstandard or a ZIP of one file, by its content."""
    with path.open("rb") as file:
        match _packing(path, file):
            case "gzip":
                with gzip.GzipFile(fileobj=file) as unpacked:
                    # Iterating a BufferedReader runs in C; a GzipFile calls Python for each line.
                    yield io.BufferedReader(unpacked)
            case "zstd":
                with _zstandard(path, file) as unpacked:
                    yield unpacked
            case "zip":
                with _unzipped(path, file) as member:
                    yield member
            case _:
                yield file


def _packing(path: Path, file: IO[bytes]) -> str | None:
    magic = file.read(4)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b" or path.suffix == ".gz":
        return "gzip"
    return {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}.get(magic)


@contextmanager
def _zstandard(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    require_extra("Reading .zst files", "tables", "zstandard")
    import zstandard

    stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    try:
        yield io.BufferedReader(stream)
    except zstandard.ZstdError as error:
        raise InputError(
            f"{path} is a damaged or unfinished Zstandard file ({on_one_line(error)}): delete it "
            "and get it again"
        ) from None


@contextmanager
def _unzipped(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(file) as archive, archive.open(_only_member(path, archive)) as member:
        yield member


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not Path(name).name.startswith(".") and "__MACOSX" not in name
    ]
    if len(names) != 1:
        raise InputError(
            f"{path} holds {len(names)} files ({', '.join(names[:5])}): unpack it and name one"
        )
    return names[0]


@dataclass(frozen=True, slots=True)
class _Survey:
    """What a pass over all bytes has found."""

    is_empty: bool
    encoding: str
    newline: str
    has_only_returns: bool
    needs_mending: bool


def _survey(path: Path) -> _Survey:
    judge = _EncodingJudge()
    ends = _LineEnds()
    size = 0
    with opened(path) as stream:
        while chunk := stream.read(_CHUNK):
            judge.add(chunk)
            ends.add(chunk)
            size += len(chunk)
    with path.open("rb") as file:
        packed = _packing(path, file) is not None
    return _Survey(
        size == 0, judge.encoding(), ends.newline(), ends.only_returns(), packed or ends.are_mixed()
    )


class _EncodingJudge:
    """By the byte-order mark; else UTF-8 if any valid UTF-8 beyond ASCII is there, else cp1252."""

    def __init__(self) -> None:
        self._start = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._letters = self._invalid = 0
        self._fits_cp1252 = True

    def add(self, chunk: bytes) -> None:
        if len(self._start) < _SAMPLE_FOR_NULS:
            self._start += chunk[:_SAMPLE_FOR_NULS]
        if chunk.isascii() and not self._decoder.getstate()[0]:
            return
        text = self._decoder.decode(chunk)
        replaced = text.count("\ufffd")
        self._letters += not text.replace("\ufffd", "").isascii()
        self._invalid += replaced - chunk.count(b"\xef\xbf\xbd")
        self._fits_cp1252 = self._fits_cp1252 and not _NOT_IN_CP1252.intersection(chunk)

    def encoding(self) -> str:
        for mark, name in _BOMS:
            if self._start.startswith(mark):
                return name
        if wide := _utf16_without_mark(self._start):
            return wide
        self._invalid += self._decoder.decode(b"", final=True).count("\ufffd")
        if self._letters or self._invalid <= 0:
            return "utf-8"
        return "cp1252" if self._fits_cp1252 else "latin-1"


def _utf16_without_mark(start: bytes) -> str | None:
    """Text that is mostly ASCII has a NUL in every second byte."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    most = 0.7 * len(start) / 2
    if odd > most and even < most / 2:
        return "utf-16-le"
    return "utf-16-be" if even > most and odd < most / 2 else None


class _LineEnds:
    """Which line ends a file has. In UTF-16 the counts are off, and do not matter.

    Feeds are counted where returns are; elsewhere one stands for all, which is as telling.
    """

    def __init__(self) -> None:
        self._both = self._feeds = self._returns = 0
        self._last = b""

    def add(self, chunk: bytes) -> None:
        if b"\r" in chunk or self._last == b"\r":
            self._both += chunk.count(b"\r\n") + (self._last == b"\r" and chunk[:1] == b"\n")
            self._feeds += chunk.count(b"\n")
            self._returns += chunk.count(b"\r")
        else:
            self._feeds += b"\n" in chunk
        self._last = chunk[-1:]

    def newline(self) -> str:
        return "\r\n" if self._both and not self.are_mixed() else "\n"

    def are_mixed(self) -> bool:
        """Whether not all lines end in "\\n", nor all in "\\r\\n"."""
        if self._both:
            return self._feeds != self._both or self._returns != self._both
        return self.only_returns()

    def only_returns(self) -> bool:
        """Whether lines end as they did on old Macs."""
        return self._feeds == 0 and self._returns > 0


def _rewrite(path: Path, target: Path, encoding: str, *, returns_end_lines: bool) -> None:
    """Write the file again as UTF-8 with line feeds; beside feeds, a lone return is a letter."""
    decoder = codecs.getincrementaldecoder(encoding)(_errors_of(encoding))
    held = ""
    with opened(path) as stream, target.open("wb") as out:
        for chunk in _chunks(stream):
            try:
                text = held + decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path} is not {encoding} ({error.reason}): say another --encoding"
                ) from None
            held = "\r" if chunk and text.endswith("\r") else ""
            text = text[: len(text) - len(held)].replace("\r\n", "\n")
            text = text.replace("\r", "\n") if returns_end_lines else text
            out.write(text.encode("utf-8", "surrogateescape"))


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """The stream in pieces; the last one is empty."""
    while chunk := stream.read(_CHUNK):
        yield chunk
    yield b""


def _errors_of(encoding: str) -> str:
    """Bytes that are no UTF-8 pass as they are, so that their line can be named."""
    return "surrogateescape" if codecs.lookup(encoding).name.startswith("utf-8") else "strict"


def _check_encoding(encoding: str | None) -> None:
    if encoding is None:
        return
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise UsageError(
            f"{encoding!r} is no encoding: use utf-8, utf-16, cp1252, latin-1 or another that "
            "Python knows"
        ) from None
