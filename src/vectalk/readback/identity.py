"""The identity of a text encoder and its weights, so that caches do not depend on its name alone."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

WEIGHTS = (".safetensors", ".bin")


def encoder_identity(name: str) -> str:
    """Return the identity of an encoder: its name and, for a folder, a hash of its weights."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return name
    places = sorted({file.parent for file in folder.rglob("*") if file.suffix in WEIGHTS})
    # Hash files once, and again after they change.
    files = [file.stat() for place in places for file in sorted(place.iterdir()) if file.suffix in WEIGHTS]
    return _hashed(name, tuple(map(str, places)), tuple((file.st_size, file.st_mtime_ns) for file in files))


@lru_cache(maxsize=8)
def _hashed(name: str, places: tuple[str, ...], stamp: tuple[tuple[int, int], ...]) -> str:
    from vectalk.llm.fingerprint import fingerprint  # imports transformers

    weights = "".join(str(fingerprint(place)) for place in places)
    return f"{name} {hashlib.sha256(weights.encode()).hexdigest()[:16]}"
