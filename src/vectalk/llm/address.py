"""Addresses of endpoints: which of them a key may travel to, and in which forms people write them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

OPENAI = "https://api.openai.com/v1"
_VERSION = re.compile(r"/v\d+\w*(/|$)")
_TAIL = re.compile(r"/(chat/)?completions/?$")


def check_address(url: str) -> str:
    """Return an address without blanks around it.

    Raises:
        ValueError: it is none.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, a bracket that is not closed
        valid = False
    # Programs differ in where a host ends before a backslash; none is left to guess which host gets the key.
    if not valid or re.search(r"[\s\\\x00-\x1f]", url) or "#" in url:
        raise ValueError("an address starts with http:// or https://, such as http://localhost:8000/v1")
    return url


def is_loopback(url: str) -> bool:
    """Say whether an address is on this machine: `localhost`, 127.0.0.0/8 or ::1."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_openai(url: str) -> bool:
    """Say whether an address is OpenAI's own, over https."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == "api.openai.com" or host.endswith(".api.openai.com"))


def host_of(url: str) -> str:
    """Return host and port, without credentials, path or query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    return f"{host}:{parts.port}" if parts.port else host


def base_of(url: str) -> str:
    """Return the address below which `chat/completions` lies, where somebody may have written that too."""
    parts = urlsplit(url)
    return _with_path(parts, _TAIL.sub("", parts.path).rstrip("/"))


def with_version(url: str) -> str | None:
    """Return the address with `/v1`, where it names no version; None where it does."""
    parts = urlsplit(url)
    return None if _VERSION.search(parts.path) else _with_path(parts, parts.path.rstrip("/") + "/v1")


def shown(url: str) -> str:
    """Return an address as it may be shown: no credentials, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{host_of(url)}{parts.path}"


def _with_path(parts: SplitResult, path: str) -> str:
    return parts._replace(path=path).geturl()
