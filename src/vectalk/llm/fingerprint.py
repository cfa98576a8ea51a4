"""`fingerprint`: a hash of an LLM's weights, so that a changed LLM is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vectalk.llm.location import local_place
from vectalk.llm.weights import weight_files

SAMPLES, SAMPLE_BYTES = 64, 1 << 14
WHOLE, WHOLE_BYTES = "whole:", 256 << 20


def fingerprint(name: str, like: str | None = None) -> str | None:
    """Return a hash of the weights in a folder or GGUF file; None if there is no such folder or file.

    If the files have up to 256 MB together, all bytes are hashed. Otherwise sizes and samples are hashed; a change of
    all weights always changes them, a change of a few weights may not.

    Args:
        name: a folder or GGUF file; for a hub model the folder of its snapshot (see `locate_llm`).
        like: an older fingerprint to compare with; if it was made from samples, the new one is as well.
    """
    place = local_place(name)
    if not place.exists():
        return None
    digest = _hash([place] if place.is_file() else weight_files(place), like)
    if like not in (None, digest) and place.is_dir():
        # An older version hashed all files that may be weights, also those that are never read.
        every = sorted(p for p in place.iterdir() if p.suffix in (".safetensors", ".bin"))
        digest = like if _hash(every, like) == like else digest
    return digest


def _hash(files: list[Path], like: str | None) -> str:
    whole = sum(p.stat().st_size for p in files) <= WHOLE_BYTES and (like is None or like.startswith(WHOLE))
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size};".encode())
        with path.open("rb") as file:
            if whole:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            for part in range(0 if whole else SAMPLES):
                file.seek(size * part // SAMPLES)
                digest.update(file.read(SAMPLE_BYTES))
    return (WHOLE if whole else "") + digest.hexdigest()
