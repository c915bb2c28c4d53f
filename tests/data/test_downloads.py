from __future__ import annotations

import fcntl
import gzip
import hashlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gloss.data.readers import downloads
from gloss.data.readers.downloads import MIRRORS, fetch_amazon
from gloss.errors import InputError, UsageError

REVIEWS, METADATA = "reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"


def packed(seed: int) -> bytes:
    """A gzip file of a good megabyte."""
    return gzip.compress(random.Random(seed).randbytes(1 << 20), mtime=0)


FILES = {REVIEWS: packed(1), METADATA: packed(2)}


@dataclass
class Mirror:
    """What a real server on this machine offers, how it behaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    version: str | None = '"v1"'
    ranges: bool = True
    breaks: int = 0
    """How many answers are cut in the middle."""
    chunked: bool = False
    stalls: bool = False
    redirect: str = ""
    url: str = ""
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def bytes_asked_for(self, name: str) -> list[str | None]:
        return [span for asked, span, _ in self.asked if asked == name]


def handler_of(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            span, condition = self.headers["Range"], self.headers["If-Range"]
            mirror.asked.append((name, span, condition))
            if mirror.redirect:
                self.answer(302, b"", Location=f"{mirror.redirect}/{name}")
            elif name not in mirror.files:
                self.answer(404, b"gone")
            else:
                self.send_file(mirror.files[name], span, condition)

        def send_file(self, content: bytes, span: str | None, condition: str | None) -> None:
            if not (span and mirror.ranges and condition in (None, mirror.version)):
                return self.answer(200, content)
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.answer(416, b"", Content_Range=f"bytes */{len(content)}")
            end = f"{start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, content[start:], Content_Range=f"bytes {end}")

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if mirror.version:
                self.send_header("ETag", mirror.version)
            if mirror.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if mirror.stalls:
                threading.Event().wait(1.0)
            if mirror.breaks and status in (200, 206):
                mirror.breaks -= 1
                body = body[: len(body) // 2]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of these tests."""


@pytest.fixture
def mirrors() -> Iterator[tuple[Mirror, Mirror]]:
    """Two servers that run on this machine."""
    pair = (Mirror(), Mirror())
    servers = [Server(("127.0.0.1", 0), handler_of(mirror)) for mirror in pair]
    for mirror, server in zip(pair, servers, strict=True):
        mirror.url = f"http://127.0.0.1:{server.server_port}/files"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield pair
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirror(mirrors: tuple[Mirror, Mirror]) -> Mirror:
    return mirrors[0]


def begin(folder: Path, content: bytes, version: str = "") -> None:
    """Leave what an interrupted call would leave of the reviews."""
    (folder / f"{REVIEWS}.part").write_bytes(content)
    if version:
        (folder / f"{REVIEWS}.part.version").write_text(version)


def assert_complete(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {
        name for file in FILES for name in (file, f"{file}.sha256")
    }
    for name, content in FILES.items():
        assert (folder / name).read_bytes() == content
        digest = hashlib.sha256(content).hexdigest()
        assert (folder / f"{name}.sha256").read_text() == f"{digest}  {name}\n"


def test_both_files_are_brought_with_their_checksums(tmp_path: Path, mirror: Mirror) -> None:
    assert fetch_amazon("beauty", tmp_path / "new", mirrors=[mirror.url]) == tmp_path / "new"
    assert_complete(tmp_path / "new")


def test_progress_grows_to_the_whole(tmp_path: Path, mirror: Mirror) -> None:
    seen: list[tuple[str, int, int | None]] = []
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url], progress=lambda *at: seen.append(at))
    for name, content in FILES.items():
        steps = [done for file, done, _ in seen if file == name]
        assert steps == sorted(steps)
        assert (steps[0], steps[-1]) == (0, len(content))
    assert {total for _, _, total in seen} == {len(content) for content in FILES.values()}


def test_files_that_are_there_are_not_asked_for_again(tmp_path: Path, mirror: Mirror) -> None:
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    mirror.asked.clear()
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert mirror.asked == []


def test_a_broken_transfer_goes_on_where_it_broke(tmp_path: Path, mirror: Mirror) -> None:
    mirror.breaks = 2
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)
    whole = len(FILES[REVIEWS])
    half = whole // 2
    three_quarters = half + (whole - half) // 2
    assert mirror.bytes_asked_for(REVIEWS) == [None, f"bytes={half}-", f"bytes={three_quarters}-"]


def test_a_later_call_goes_on_with_what_is_there(tmp_path: Path, mirror: Mirror) -> None:
    begin(tmp_path, FILES[REVIEWS][:1000], '"v1"')
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)
    assert mirror.asked[0] == (REVIEWS, "bytes=1000-", '"v1"')


def test_a_part_of_another_version_is_begun_anew(tmp_path: Path, mirror: Mirror) -> None:
    begin(tmp_path, packed(3)[:1000], '"v0"')
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)
    assert mirror.bytes_asked_for(REVIEWS) == ["bytes=1000-"]


def test_a_part_of_another_file_is_found_out_without_versions(
    tmp_path: Path, mirror: Mirror
) -> None:
    mirror.version = None
    begin(tmp_path, packed(3)[:1000])
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)
    assert mirror.bytes_asked_for(REVIEWS) == ["bytes=1000-", None]


def test_a_part_that_is_already_whole_is_accepted(tmp_path: Path, mirror: Mirror) -> None:
    begin(tmp_path, FILES[REVIEWS], '"v1"')
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)
    assert mirror.bytes_asked_for(REVIEWS) == [f"bytes={len(FILES[REVIEWS])}-"]


def test_a_part_that_is_too_long_is_begun_anew(tmp_path: Path, mirror: Mirror) -> None:
    begin(tmp_path, FILES[REVIEWS] + b"more", '"v1"')
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)


def test_a_server_without_ranges_sends_all_again(tmp_path: Path, mirror: Mirror) -> None:
    mirror.ranges = False
    begin(tmp_path, FILES[REVIEWS][:1000], '"v1"')
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)


def test_a_server_that_tells_no_length_is_understood(tmp_path: Path, mirror: Mirror) -> None:
    mirror.chunked = True
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)


def test_the_next_mirror_gives_what_the_first_has_not(
    tmp_path: Path, mirrors: tuple[Mirror, Mirror]
) -> None:
    first, second = mirrors
    del first.files[REVIEWS]
    fetch_amazon("beauty", tmp_path, mirrors=[first.url, second.url])
    assert_complete(tmp_path)
    assert second.bytes_asked_for(METADATA) == []


def test_the_next_mirror_goes_on_with_the_same_file(
    tmp_path: Path, mirrors: tuple[Mirror, Mirror]
) -> None:
    first, second = mirrors
    first.breaks, first.ranges = 100, False
    fetch_amazon("beauty", tmp_path, mirrors=[first.url, second.url])
    assert_complete(tmp_path)
    assert second.bytes_asked_for(REVIEWS) == [f"bytes={len(FILES[REVIEWS]) // 2}-"]


@pytest.mark.parametrize("content", [b"<html>log in first</html>", FILES[REVIEWS][:-8], b""])
def test_what_is_not_a_whole_gzip_file_is_never_accepted(
    tmp_path: Path, mirror: Mirror, content: bytes
) -> None:
    mirror.files[REVIEWS] = content
    with pytest.raises(InputError, match=r"127\.0\.0\.1: what came is not a whole gzip file"):
        fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert list(tmp_path.iterdir()) == []


def test_failure_says_what_to_do_offline(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        fetch_amazon("beauty", tmp_path, mirrors=["http://127.0.0.1:1/a", "http://localhost:1/b"])
    said = str(caught.value)
    assert said.startswith(f"cannot download {REVIEWS} (127.0.0.1: ")
    assert "; localhost: " in said
    assert f"put {REVIEWS} and {METADATA} into a folder yourself" in said
    assert "--source DIR" in said
    assert "\n" not in said


def test_a_silent_server_is_given_up(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_TIMEOUT", 0.1)
    mirror.stalls = True
    with pytest.raises(InputError, match="timed out"):
        fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])


def test_an_interrupted_call_leaves_its_part(tmp_path: Path, mirror: Mirror) -> None:
    def interrupt(name: str, done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_amazon("beauty", tmp_path, mirrors=[mirror.url], progress=interrupt)
    kept = (tmp_path / f"{REVIEWS}.part").read_bytes()
    assert 0 < len(kept) < len(FILES[REVIEWS])
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert_complete(tmp_path)
    assert mirror.bytes_asked_for(REVIEWS) == [None, f"bytes={len(kept)}-"]


def test_an_altered_file_is_refused_with_the_cure(tmp_path: Path, mirror: Mirror) -> None:
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    (tmp_path / REVIEWS).write_bytes(packed(4))
    with pytest.raises(InputError, match=rf"not that in {REVIEWS}\.sha256\. Delete it to download"):
        fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    (tmp_path / f"{REVIEWS}.sha256").unlink()
    fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])
    assert (tmp_path / REVIEWS).read_bytes() == packed(4)


def test_a_damaged_file_put_there_by_hand_is_refused(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / REVIEWS).write_bytes(FILES[REVIEWS][:1000])
    with pytest.raises(InputError, match="damaged or unfinished gzip"):
        fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])


def test_two_downloads_of_one_file_do_not_mix(tmp_path: Path, mirror: Mirror) -> None:
    with (tmp_path / f"{REVIEWS}.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is downloading"):
            fetch_amazon("beauty", tmp_path, mirrors=[mirror.url])


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc", "ftp://127.0.0.1/x"])
def test_only_https_is_spoken_to_other_machines(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="is not an https:// address"):
        fetch_amazon("beauty", tmp_path, mirrors=[url])


def test_redirects_stay_on_this_machine_or_https(
    tmp_path: Path, mirrors: tuple[Mirror, Mirror]
) -> None:
    first, second = mirrors
    first.redirect = second.url
    fetch_amazon("beauty", tmp_path, mirrors=[first.url])
    assert_complete(tmp_path)
    first.redirect = "http://example.org"
    with pytest.raises(InputError, match=r"redirects to http://example\.org"):
        fetch_amazon("toys", tmp_path, mirrors=[first.url])


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        fetch_amazon("beauty", tmp_path / "file" / "folder", mirrors=[mirror.url])


def test_the_published_mirrors_are_https() -> None:
    assert all(mirror.startswith("https://") for mirror in MIRRORS)
