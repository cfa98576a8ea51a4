"""`Guard`: what every request must fulfil before anything reads it: host, key, type and size of the body."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vectalk.serving.errors import ApiError, response_of
from vectalk.serving.limits import Limits

PROTECTED = ("/v1", "/api", "/metrics")
LOCAL_NAMES = frozenset({"localhost"})
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]+))(?::\d*)?")
STRICT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"


class Keys:
    """API keys; only their hashes are kept, so no log and no error can show a key.

    Args:
        keys: the keys; with none of them every request is allowed.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._hashes = [hashlib.sha256(key.encode()).digest() for key in keys]

    def allow(self, authorization: str) -> bool:
        """Return whether a header `Authorization` carries one of the keys; takes the same time for every wrong key."""
        scheme, _, token = authorization.partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._hashes]
        return not self._hashes or (scheme.lower() == "bearer" and any(matches))


class Hosts:
    """The names under which the server may be addressed, against DNS rebinding.

    Addresses in digits are allowed, since a name that another page owns cannot look like one; on a loopback server
    only those of the loopback interface.

    Args:
        names: allowed names besides localhost.
        loopback: whether the server listens on the loopback interface alone.
    """

    def __init__(self, names: Sequence[str] = (), *, loopback: bool = True) -> None:
        self.names, self.loopback = {*LOCAL_NAMES, *(name.lower() for name in names)}, loopback

    def allow(self, host: str) -> bool:
        """Return whether a header `Host` names this server."""
        match = _HOST.fullmatch(host.strip().lower())
        if match is None:
            return False
        name = match["address"] or match["name"]
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback


def is_loopback(host: str) -> bool:
    """Return whether a server on this host can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests before the application sees them, and adds the headers of every response.

    Args:
        app: the application.
        keys: the API keys.
        hosts: the allowed names of this server.
        limits: size of a body, and the time in which it must arrive.
    """

    def __init__(self, app: ASGIApp, keys: Keys, hosts: Hosts, limits: Limits) -> None:
        self.app, self.keys, self.hosts, self.limits = app, keys, hosts, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", STRICT)
                headers.setdefault("cache-control", "no-store")
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
        except ApiError as error:
            await response_of(error)(scope, receive, with_headers)
            return
        await self.app(scope, self._limited(receive), with_headers)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.hosts.allow(hosts[0]):
            raise ApiError(
                400,
                "the header Host names another server; a name of this one is allowed with --allow-host NAME",
                code="invalid_host",
            )
        if path.startswith(PROTECTED) and not self.keys.allow(headers.get("authorization", "")):
            raise ApiError(
                401,
                "this server needs an API key: send `Authorization: Bearer KEY`",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            # Another page can send any other type without asking first (CORS).
            raise ApiError(415, "the body must have the type application/json", code="invalid_content_type")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self.limits.body_bytes:
            raise self._too_large()

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the body is larger than {self.limits.body_bytes} bytes", code="body_too_large")

    def _limited(self, receive: Receive) -> Receive:
        """Return `receive` with a limit of bytes, and of seconds until the body is there."""
        size, complete = 0, False

        async def limited() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            try:
                message: Any = await asyncio.wait_for(receive(), self.limits.seconds)
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self.limits.seconds:g} s") from None
            size += len(message.get("body", b""))
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            if size > self.limits.body_bytes:
                raise HTTPException(413, self._too_large().message)
            return message

        return limited
