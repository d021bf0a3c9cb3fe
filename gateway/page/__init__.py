"""The page that an operator keeps open: static files at `/` and below `/page/`, with nothing of a room in them.

What is shown comes from the API, with the operator's token; so the files need none.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

#: Own scripts, styles and addresses, and nothing else: no inline code, no other site, no frame, no form's target,
#: and no text that becomes markup, by mistake or otherwise.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
START = "index.html"


class Asset(Struct, frozen=True):
    """One file as it is sent; `tag` is its ETag."""

    body: bytes
    kind: str
    tag: str

    def answer(self, request: Request) -> Response:
        """Return the file, or 304 to a browser that has it already."""
        headers = _HEADERS | {"etag": self.tag}
        known = request.headers.get("if-none-match", "")
        if self.tag in {one.strip().removeprefix("W/") for one in known.split(",")}:
            return Response(status_code=304, headers=headers)
        return Response(self.body, 200, headers | {"content-type": self.kind})


def read_assets() -> dict[str, Asset]:
    """Return the page's files by name, read from the package."""
    found: dict[str, Asset] = {}
    for file in files(__package__).joinpath("static").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            body = file.read_bytes()
            found[file.name] = Asset(body, kind, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
    return found


def routes() -> Sequence[BaseRoute]:
    """Return the routes of the page."""
    return [_route("/" if name == START else f"/page/{name}", asset) for name, asset in read_assets().items()]


def _route(path: str, asset: Asset) -> Route:
    async def endpoint(request: Request) -> Response:
        return asset.answer(request)

    return Route(path, endpoint)
