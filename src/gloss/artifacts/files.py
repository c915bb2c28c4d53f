"""The file system beneath artefacts: whole writes, checksums, locks, folders that change places.

Knows files; knows nothing of manifests.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from gloss.errors import ArtifactError

__all__ = [
    "exchange",
    "fingerprint_of",
    "fingerprint_of_file",
    "locked",
    "open_regular",
    "remove_empty_folders",
    "sync_folder",
    "walk",
    "write_atomic",
]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_NOT_OFFERED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is found whole or not at all, also after a crash."""
    draft = path.with_name(f".{path.name}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ArtifactError(f"cannot write {path}: {error.strerror}") from error


def fingerprint_of(*parts: str) -> str:
    """SHA-256 of the parts, each preceded by its length so that no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def fingerprint_of_file(file: Path) -> str:
    """SHA-256 of a file's content."""
    with open_regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_regular(file: Path) -> BufferedReader:
    """Open a regular file to read it; ArtifactError for anything else.

    A FIFO would wait for a writer, and a device may never end.
    """
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ArtifactError(f"{file} is not a regular file")
    return open(handle, "rb")  # noqa: PTH123 - the caller closes it


def sync_folder(folder: Path) -> None:
    """Let the names in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def walk(folder: Path) -> Iterator[str]:
    """The names of all files below a folder, and of links; what a link leads to is not entered."""
    for root, folders, files in os.walk(folder):
        here = Path(root)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in (*files, *links):
            yield (here / name).relative_to(folder).as_posix()


def remove_empty_folders(folder: Path) -> None:
    """Remove what is empty below a folder, and the folder itself if nothing is left."""
    for root, _, _ in os.walk(folder, topdown=False):
        try:
            Path(root).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.EACCES):
                raise


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step (renameat2); False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    sys.audit("os.rename", str(one), str(other), -1, -1)
    arguments = _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other)
    if rename(*arguments, ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_OFFERED:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


@contextmanager
def locked(lock: Path, busy: str) -> Iterator[None]:
    """Hold a lock file for this process; the lock dies with it, however it dies.

    Raises ArtifactError with the text `busy` if another process holds it.
    """
    handle = _acquired(lock)
    if handle is None:
        raise ArtifactError(busy)
    try:
        yield
    finally:
        if not os.fstat(handle).st_size:  # somebody's file of that name stays
            lock.unlink(missing_ok=True)
        os.close(handle)


def _acquired(lock: Path) -> int | None:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        # Whoever held it may have removed it meanwhile: then this is a lock that nobody else sees.
        if _is_at(lock, handle):
            return handle
        os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
