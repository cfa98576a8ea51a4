"""Addresses of endpoints: the forms in which users write them, and the properties that decide where a key may go."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

OPENAI = "https://api.openai.com/v1"
_VERSION = re.compile(r"/v\d+\w*(/|$)")
_TAIL = re.compile(r"/(chat/)?completions/?$")


def check_address(url: str) -> str:
    """Return an address without surrounding blanks.

    Raises:
        ValueError: the text is not an address.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # the port is not a number, or a bracket is not closed
        valid = False
    # Programs differ in whether a backslash ends the host, so an address with one may send the key to another host.
    if not valid or re.search(r"[\s\\\x00-\x1f]", url) or "#" in url:
        raise ValueError("an address starts with http:// or https://, such as http://localhost:8000/v1")
    return url


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine: `localhost`, 127.0.0.0/8 or ::1."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_openai(url: str) -> bool:
    """Return whether an address is one of OpenAI, over https."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == "api.openai.com" or host.endswith(".api.openai.com"))


def host_of(url: str) -> str:
    """Return host and port, without credentials, path or query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    return f"{host}:{parts.port}" if parts.port else host


def base_of(url: str) -> str:
    """Return an address without a trailing `chat/completions`, which users may have written as well."""
    parts = urlsplit(url)
    return _with_path(parts, _TAIL.sub("", parts.path).rstrip("/"))


def with_version(url: str) -> str | None:
    """Return an address with `/v1` added; None if it already names a version."""
    parts = urlsplit(url)
    return None if _VERSION.search(parts.path) else _with_path(parts, parts.path.rstrip("/") + "/v1")


def without_secrets(url: str) -> str:
    """Return an address for messages, without credentials and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{host_of(url)}{parts.path}"


def _with_path(parts: SplitResult, path: str) -> str:
    return parts._replace(path=path).geturl()
