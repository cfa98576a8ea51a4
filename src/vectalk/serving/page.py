"""The page of the map: static files that were built into the package, with a strict content security policy."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
# The map's library compiles the bindings of its shaders, which needs 'unsafe-eval'; workers are made from blobs.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class Page(StaticFiles):
    """Static files with the policy of the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file of the page."""
        response = await super().get_response(path, scope)
        response.headers["content-security-policy"] = POLICY
        response.headers["cache-control"] = "no-cache"
        return response


def is_built(folder: Path = FOLDER) -> bool:
    """Return whether the page is built."""
    return (folder / "index.html").is_file()


def add_page(app: FastAPI, folder: Path = FOLDER) -> bool:
    """Serve the page at `/` where it is built; return whether it is."""
    if not is_built(folder):
        return False
    page = Page(directory=folder)

    def add(address: str, name: str) -> None:
        async def file(request: Request) -> Response:
            return await page.get_response(name, request.scope)

        app.add_route(address, file, methods=["GET"], include_in_schema=False)

    # One route for each file: a mount would answer for every other address too, also for those with other methods.
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            add(f"/{name}", name)
    add("/", "index.html")
    return True
