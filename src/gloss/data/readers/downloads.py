"""Downloads: resumable and checked; the Amazon files of 2014 from whichever mirror answers.

A file in the making is `NAME.part`, with the server's word for its version in `NAME.part.version`;
it gets its own name only when it is whole, and its SHA-256 is kept beside it in `NAME.sha256` (as
`sha256sum` writes it). Knows nothing of what the files hold.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPMessage, HTTPResponse
from io import FileIO
from pathlib import Path
from typing import IO

from gloss.artifacts import write_atomic
from gloss.data.readers.amazon import file_names
from gloss.data.readers.lines import input_errors, on_one_line
from gloss.errors import InputError, UsageError
from gloss.progress import Progress as Callback

__all__ = ["MIRRORS", "Progress", "fetch_amazon", "fetch_file"]

MIRRORS = (
    "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles",
    "https://mcauleylab.ucsd.edu/public_datasets/data/amazon/categoryFiles",
)

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that are there, and the bytes in all (None if unknown)."""

_TIMEOUT = 30.0
"""Seconds to wait for a connection, and for each read."""
_MOST_ATTEMPTS = 20
_CHUNK = 1 << 18
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _BrokenError(Exception):
    """A download that stopped before its end, or brought something else than the file."""


_FAILURES = (_BrokenError, OSError, HTTPException)


def _silent(name: str, done: int, total: int | None) -> None:
    """Show no progress."""


def fetch_amazon(
    category: str,
    folder: Path,
    *,
    mirrors: Sequence[str] = MIRRORS,
    progress: Progress = _silent,
) -> Path:
    """Download a category's reviews and metadata into `folder`; returns it, to be read from.

    Files that are there already are checked and kept; what an interrupted call left is gone on
    with. Only HTTPS is spoken, except to servers on this machine.

    Raises InputError when no mirror gives a whole file, when a file is not what was once
    downloaded, or when `folder` cannot be written; UsageError for a mirror that is not HTTPS.
    """
    for mirror in mirrors:
        if not _is_allowed(mirror):
            raise UsageError(f"{mirror} is not an https:// address")
    folder = Path(folder)
    with _write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    names = [f"{name}.gz" for name in file_names(category)]
    for name in names:
        if not _is_kept(folder / name):
            _fetch(name, names, folder, mirrors, progress)
    return folder


def fetch_file(url: str, folder: Path, *, progress: Callback) -> Path:
    """Download one file into a folder of its own in `folder`; one that is there is kept.

    Raises UsageError unless the address is HTTPS (or on this machine), InputError when the file
    cannot be had whole.
    """
    if not _is_allowed(url):
        raise UsageError(f"{url} is not an https:// address")
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "download"
    target = Path(folder) / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    with _write_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file():
        return target
    show = partial(_shown, progress)
    with _part_of(target, show, _whole_gzip if name.endswith(".gz") else _not_empty) as part:
        try:
            part.complete(url)
        except _FAILURES as error:
            reason = on_one_line(getattr(error, "reason", error)) or type(error).__name__
            raise InputError(
                f"cannot download {url} ({reason}). Run it again to go on where it stopped"
            ) from None
    return target


def _shown(progress: Callback, name: str, done: int, total: int | None) -> None:
    progress(done, total, f"{name}, bytes")


def _is_kept(path: Path) -> bool:
    """Whether the file is there, and whole; InputError if it is there and is not."""
    if not path.is_file():
        return False
    seal = _seal_of(path)
    if not seal.is_file():
        _check_gzip(path)
        _write_seal(path)
    elif seal.read_text(encoding="utf-8").split()[:1] != [_sha256(path)]:
        raise InputError(
            f"{path} is not the file that was downloaded: its SHA-256 is not that in {seal.name}. "
            f"Delete it to download it again, or delete {seal.name} to keep it as it is"
        )
    return True


def _fetch(
    name: str, names: Sequence[str], folder: Path, mirrors: Sequence[str], progress: Progress
) -> None:
    """Get one file from the first mirror that gives it whole."""
    failures = []
    with _part_of(folder / name, progress, _whole_gzip) as part:
        for mirror in mirrors:
            try:
                return part.complete(f"{mirror.rstrip('/')}/{urllib.parse.quote(name)}")
            except _FAILURES as error:
                host = urllib.parse.urlsplit(mirror).hostname
                reason = on_one_line(getattr(error, "reason", error))
                failures.append(f"{host}: {reason or type(error).__name__}")
    raise InputError(
        f"cannot download {name} ({'; '.join(failures)}). Run it again to go on where it stopped; "
        f"or put {' and '.join(names)} into a folder yourself and name it with --source DIR"
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """A file on its way to `target`: what has come so far is in `file`."""

    target: Path
    file: FileIO
    progress: Progress
    check: Callable[[Path], None]

    @property
    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    @property
    def path(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def version(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.version")

    def complete(self, url: str) -> None:
        """Bring the file in from one mirror, going on as long as each attempt gets further.

        Raises one of _FAILURES, with what has come kept for the next attempt.
        """
        for _ in range(_MOST_ATTEMPTS):
            start = self.size
            try:
                self._receive(url)
                return self._accept()
            except _FAILURES as error:
                failure = error
            began_anew = self.size == 0 < start
            if self.size <= start and not began_anew:
                break
        raise failure

    def _receive(self, url: str) -> None:
        """One request: the rest of the file if the server still has this version, or all of it."""
        request = urllib.request.Request(url, headers=self._headers())
        try:
            response: HTTPResponse = _opener().open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and error.headers["Content-Range"] == f"bytes */{self.size}":
                    return  # all of it had come before
                if error.code == 416:
                    self._begin_anew()
                raise _BrokenError(f"HTTP {error.code} {error.reason}") from None
        with response:
            self._place(response)
            self._append(response)

    def _headers(self) -> dict[str, str]:
        if self.size == 0:
            return {}
        known = self._known_version()
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": known} if known else {})

    def _known_version(self) -> str:
        return self.version.read_text(encoding="utf-8") if self.version.is_file() else ""

    def _place(self, response: HTTPResponse) -> None:
        """Go on after what is there, or begin anew, as the answer is a part or the whole."""
        version = _version_of(response.headers)
        if response.status == 206:
            spans = re.match(rf"bytes {self.size}-", response.headers["Content-Range"] or "")
            if not spans or version != (self._known_version() or version):
                self._begin_anew()
                raise _BrokenError("the server sent another part than was asked for")
        elif response.status == 200:
            self._begin_anew()
            write_atomic(self.version, version.encode())
        else:
            raise _BrokenError(f"HTTP {response.status} {response.reason}")

    def _begin_anew(self) -> None:
        with _write_errors(self.path):
            self.file.truncate(0)
            self.file.seek(0)

    def _append(self, response: HTTPResponse) -> None:
        length = response.headers["Content-Length"]
        total = self.size + int(length) if length and length.isdecimal() else None
        self.progress(self.target.name, self.size, total)
        while chunk := response.read(_CHUNK):
            with _write_errors(self.path):
                _write_all(self.file, chunk)
            self.progress(self.target.name, self.size, total)
        if total is not None and self.size < total:
            raise _BrokenError(f"stopped after {self.size} of {total} bytes")

    def _accept(self) -> None:
        """Give the file its name if it is whole; otherwise begin anew."""
        try:
            self.check(self.path)
        except _BrokenError:
            self._begin_anew()
            raise
        with _write_errors(self.target):
            os.fsync(self.file.fileno())
            # A seal of an earlier file must not meet this one, should we be stopped in between.
            _seal_of(self.target).unlink(missing_ok=True)
            self.path.replace(self.target)
            self.version.unlink(missing_ok=True)
        _write_seal(self.target)


@contextmanager
def _part_of(target: Path, progress: Progress, check: Callable[[Path], None]) -> Iterator[_Part]:
    """The part of `target`, held for this process; the hold dies with it, however it dies."""
    path = target.with_name(f"{target.name}.part")
    with _write_errors(path):
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is downloading {target}") from None
        file.seek(0, os.SEEK_END)
        part = _Part(target, file, progress, check)
        yield part
        if part.size == 0:
            path.unlink(missing_ok=True)
            part.version.unlink(missing_ok=True)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into one InputError: no mirror can mend it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def _write_all(file: FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _version_of(headers: HTTPMessage) -> str:
    """What If-Range may name: a strong ETag, or the date of the last change (RFC 9110, 13.1.5)."""
    tag = headers["ETag"]
    return tag if tag and not tag.startswith("W/") else headers["Last-Modified"] or ""


def _check_gzip(path: Path) -> None:
    """Raise InputError unless the file unpacks to its end (an empty one would, to nothing)."""
    with input_errors(path), gzip.open(path) as content:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty")
        while content.read(_CHUNK):
            pass


def _whole_gzip(path: Path) -> None:
    try:
        _check_gzip(path)
    except InputError:
        raise _BrokenError("what came is not a whole gzip file") from None


def _not_empty(path: Path) -> None:
    if path.stat().st_size == 0:
        raise _BrokenError("what came is empty")


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write_seal(path: Path) -> None:
    write_atomic(_seal_of(path), f"{_sha256(path)}  {path.name}\n".encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_allowed(url: str) -> bool:
    """Whether an address is HTTPS, or plain HTTP on this machine."""
    address = urllib.parse.urlsplit(url)
    return address.scheme == "https" or (address.scheme == "http" and address.hostname in _LOOPBACK)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to HTTPS, or on this machine from this machine."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        local = urllib.parse.urlsplit(req.full_url).hostname in _LOOPBACK
        if urllib.parse.urlsplit(newurl).scheme != "https" and not (local and _is_allowed(newurl)):
            fp.close()
            raise _BrokenError(f"redirects to {newurl}, which is not https://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SafeRedirects)
