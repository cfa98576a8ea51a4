"""Embeddings kept on disk: a sentence encoder reads about 90 texts a second on one core, and texts recur."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vectalk.files import atomic_file
from vectalk.readback.encoder import SentenceEncoder, TextEncoder
from vectalk.readback.identity import encoder_identity

BLOCK = 512  # texts of a shard; at most one shard is lost when the process is killed
SAMPLE = "An old sailor finds an island that is on no map."
KEY = 16  # bytes


class CachedEncoder:
    """A frozen encoder that encodes each text once, and keeps the embeddings in a folder.

    A shard is a pair of files, `ID.keys.npy` (hashes of texts) and `ID.rows.npy` (embeddings in half precision). New
    embeddings are rounded to half precision too, so that results do not depend on the cache.

    Args:
        encoder: a frozen encoder.
        folder: folder of the shards of all encoders; None keeps the embeddings in memory only.
        progress: called with the number of encoded texts and the total of new texts.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        folder: str | Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.encoder, self.name, self.progress = encoder, encoder.name, progress
        self.folder = None if folder is None else Path(folder) / _slug(encoder_identity(encoder.name))
        self._shards: list[np.ndarray] = []
        self._place: dict[bytes, tuple[int, int]] = {}
        if self.folder is not None:
            self._open(self.folder)

    def _open(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for keys in sorted(folder.glob("*.keys.npy")):
            pair = _shard(keys, keys.with_name(keys.name.replace(".keys.", ".rows.")))
            if pair is not None:
                self._add(*pair)
        sample = _hash(SAMPLE)
        if sample in self._place and len({shard.shape[1] for shard in self._shards}) == 1:
            known, now = self._rows([sample])[0], self.encoder.encode([SAMPLE])[0]
            if len(known) == len(now) and float(known @ now) > 0.999:
                return
        # The embeddings may be those of another encoder with this name: delete them.
        for stale in folder.glob("*.npy"):
            stale.unlink()
        self._shards, self._place = [], {}
        self.encode([SAMPLE])

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit rows [N, E] float32."""
        if not len(texts):
            return self.encoder.encode([])
        keys = [_hash(text) for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._place}
        # Longest texts first: batches have little padding, and the first estimate of the time is not too short.
        missing = sorted(new.items(), key=lambda item: -len(item[1]))
        for start in range(0, len(missing), BLOCK):
            block = missing[start : start + BLOCK]
            rows = self._compute([text for _, text in block]).astype(np.float16)
            self._keep(np.frombuffer(b"".join(key for key, _ in block), np.uint8).reshape(-1, KEY), rows)
            self.progress(start + len(block), len(missing))
        return self._rows(keys)

    def _compute(self, texts: list[str]) -> np.ndarray:
        """Encode texts; without the sentence encoder's own cache."""
        return self.encoder.compute(texts) if isinstance(self.encoder, SentenceEncoder) else self.encoder.encode(texts)

    def _rows(self, keys: Sequence[bytes]) -> np.ndarray:
        shard, row = np.array([self._place[key] for key in keys]).T
        embeddings = np.empty((len(keys), self._shards[0].shape[1]), np.float32)
        for number in np.unique(shard):
            there = shard == number
            embeddings[there] = self._shards[number][row[there]]
        return embeddings

    def _keep(self, keys: np.ndarray, rows: np.ndarray) -> None:
        if self.folder is not None:
            name = hashlib.sha256(keys.tobytes()).hexdigest()[:16]
            place = self.folder / f"{name}.rows.npy"
            for path, array in ((place, rows), (self.folder / f"{name}.keys.npy", keys)):
                with atomic_file(path) as temporary:
                    np.save(temporary, array)
            rows = np.load(place, mmap_mode="r")
        self._add(keys, rows)

    def _add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        number = len(self._shards)
        self._shards.append(rows)
        self._place.update((key.tobytes(), (number, i)) for i, key in enumerate(keys))


def _shard(keys: Path, rows: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return keys [n, 16] and rows [n, E] of a shard, or None for broken files, whose texts are encoded again."""
    try:
        names, vectors = np.load(keys), np.load(rows, mmap_mode="r")
    except Exception:  # numpy lets through what its parser of headers raises
        return None
    whole = names.dtype == np.uint8 and names.ndim == vectors.ndim == 2 and names.shape[1] == KEY
    return (names, vectors) if whole and vectors.dtype == np.float16 and len(names) == len(vectors) else None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:KEY]


def _slug(name: str) -> str:
    """Return a folder name that is unique for each encoder name."""
    return f"{re.sub(r'[^a-zA-Z0-9]+', '-', name).strip('-')[-40:]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
