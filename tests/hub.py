"""A hub on this machine: the few addresses of huggingface.co that pulling and pushing need.

The client is the real one; what is here answers it, and remembers what it was asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

__all__ = ["COMMIT", "Hub"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """files: of each repository, by name. asked: method and path of every request, in order;
    tokens: what stood in the authorization headers; pushed: files that were uploaded."""

    def __init__(self, files: dict[str, dict[str, bytes]]) -> None:
        self.files = files
        self.asked: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.pushed: dict[str, bytes] = {}
        self.private: list[bool] = []
        self.address = ""

    @classmethod
    @contextmanager
    def serving(cls, files: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
        """The hub, until the block ends."""
        hub = cls(files)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for."""
        return [path.rpartition("/")[2] for method, path in self.asked if _is_get(method, path)]


def _is_get(method: str, path: str) -> bool:
    return method == "GET" and "/resolve/" in path


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlparse(self.path).path)
            hub.asked.append((self.command, path))
            hub.tokens.add(self.headers.get("Authorization"))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._api("/".join(parts[2:4]), parts[4:], body)
            elif parts[:3] == ["api", "repos", "create"]:
                wanted = json.loads(body)
                hub.private.append(
                    wanted.get("private") is True or wanted.get("visibility") == "private"
                )
                self._json({"url": f"{hub.address}/{wanted['organization']}/{wanted['name']}"})
            elif parts[0] == "api":
                self._json({})
            else:
                self._file("/".join(parts[:2]), "/".join(parts[4:]))

        def _api(self, repository: str, rest: list[str], body: bytes) -> None:
            if rest[:1] == ["preupload"]:
                names = [file["path"] for file in json.loads(body)["files"]]
                files = [
                    {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
                ]
                self._json({"files": files})
            elif rest[:1] == ["commit"]:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        content = base64.b64decode(line["value"]["content"])
                        hub.pushed[line["value"]["path"]] = content
                self._json({"commitUrl": f"{hub.address}/{repository}/commit/a", "commitOid": "a"})
            elif repository not in hub.files:
                self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            elif rest[:1] == ["tree"]:
                tree = [
                    {"type": "file", "path": name, "size": len(content), "oid": COMMIT}
                    for name, content in hub.files[repository].items()
                ]
                self._json(tree)
            else:
                siblings = [
                    {"rfilename": name, "size": len(content)}
                    for name, content in hub.files[repository].items()
                ]
                self._json({"id": repository, "sha": COMMIT, "siblings": siblings})

        def _file(self, repository: str, name: str) -> None:
            content = hub.files.get(repository, {}).get(name)
            if content is None:
                self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
                return
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

        def _json(self, value: Any, status: int = 200, headers: Any = None) -> None:
            self._send(status, json.dumps(value).encode(), headers or {})

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler
