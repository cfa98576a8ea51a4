"""`TextReader`: texts as vectors of a space, by the encoder that made it or by the run's read-back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.readback.encoder import TextEncoder, check_named, named_encoder
from vectalk.readback.readback import ReadBack
from vectalk.readback.shelf import SavedReadBack, saved_for
from vectalk.space import VectorSpace


class TextReader:
    """Turns texts into vectors of one space; what it needs is loaded with the first text.

    Args:
        space: the space.
        encoder: name of the text encoder.
        saved: the read-back; None where the encoder made the space.
        trust_encoder: load an encoder that vectalk does not know.
    """

    def __init__(
        self, space: VectorSpace, encoder: str, saved: SavedReadBack | None = None, trust_encoder: bool = False
    ) -> None:
        self.space, self.encoder, self.saved, self.trust_encoder = space, encoder, saved, trust_encoder
        self._lock = threading.Lock()
        self._reader: ReadBack | TextEncoder | None = None

    @classmethod
    def of(cls, run: Path, space: VectorSpace, trust_encoder: bool = False) -> TextReader:
        """Return the reader of a space.

        Raises:
            VectalkError: no encoder made the space and the run has no read-back of it, or the encoder is not trusted.
        """
        saved = saved_for(run, space) if space.encoder is None else None
        encoder = space.encoder if saved is None else saved.encoder
        assert encoder is not None
        check_named(encoder, f"space {space.name!r}", trust_encoder)
        return cls(space, encoder, saved, trust_encoder)

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, int, float | None]:
        """Return the vectors [N, D] of texts, the number of tokens that were read, and the read-back's R2.

        R2 is None where the encoder made the space, or where the read-back was saved without it.
        """
        with self._lock:
            if self._reader is None:
                self._reader = self._load()
            reader = self._reader
            if isinstance(reader, ReadBack):
                return reader(texts), _tokens(reader.encoder, texts), reader.r2
            return reader.encode(texts), _tokens(reader, texts), None

    def _load(self) -> ReadBack | TextEncoder:
        if self.saved is not None:
            return ReadBack.load(self.saved.folder, self.space, self.trust_encoder)
        return named_encoder(self.encoder, f"space {self.space.name!r}", self.trust_encoder)


def _tokens(encoder: Any, texts: Sequence[str]) -> int:
    """Return how many tokens an encoder reads of texts; words, where it has no tokenizer."""
    tokenizer = getattr(getattr(encoder, "model", None), "tokenizer", None)
    if tokenizer is None:
        return sum(len(text.split()) for text in texts)
    longest = getattr(encoder, "longest", None)
    lengths = [len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]
    return sum(min(length, longest or length) for length in lengths)
