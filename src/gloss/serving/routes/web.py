"""`/` and `/web/…`: the page. Its files hold nothing of anybody, and are answered without a key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["is_static", "router"]

router = APIRouter(include_in_schema=False)

_FOLDER = "/web/"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types gloss-report"
)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    kind: str
    tag: str


def is_static(path: str) -> bool:
    """Whether this is the path of a file of the page.

    >>> [is_static(path) for path in ("/", "/web/page.css", "/web/../app.py", "/v1/info")]
    [True, True, False, False]
    """
    return path == "/" or (path.startswith(_FOLDER) and path.removeprefix(_FOLDER) in _files())


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html")


@router.get("/web/{name}")
async def file(name: str, request: Request) -> Response:
    """A file of the page."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise HTTPException(404, "there is no such file")
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",
        "ETag": found.tag,
    }
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.kind, headers=headers)


@cache
def _files() -> dict[str, _File]:
    """All files by name: what is not among them is not answered, whatever its path."""
    found = {}
    for entry in files("gloss.serving").joinpath("web").iterdir():
        suffix = f".{entry.name.rpartition('.')[2]}"
        if suffix in _TYPES:
            content = entry.read_bytes()
            tag = f'"{sha256(content).hexdigest()[:16]}"'
            found[entry.name] = _File(content, _TYPES[suffix], tag)
    return found
