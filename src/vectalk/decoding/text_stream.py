"""`TextStream`: decodes tokens to text one by one; emits complete characters only, up to a stop text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TORN = "�"


class TextStream:
    """Decodes a growing list of tokens.

    Args:
        tokenizer: decodes the tokens.
        stop: texts that end the answer.

    Attributes:
        stopped: whether a stop text has appeared.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self.tokenizer, self.stop, self.stopped = tokenizer, tuple(stop), False
        self._ids: list[int] = []
        self._start = self._read = 0  # tokens from `start` are decoded together; text before `read` was returned
        self._held = ""  # text that may be the beginning of a stop text

    def push(self, token: int) -> str:
        """Add a token; return the text that is now certain."""
        self._ids.append(token)
        emitted, text = self._decode(self._read), self._decode(len(self._ids))
        if text.endswith(TORN):  # the rest of a character is still to come
            return ""
        self._start, self._read = self._read, len(self._ids)
        return self._out(text[len(emitted) :])

    def end(self) -> str:
        """Return the remaining text."""
        rest = "" if self.stopped else self._decode(len(self._ids))[len(self._decode(self._read)) :]
        out, self._held = self._out(rest) + ("" if self.stopped else self._held), ""
        return out

    def _decode(self, end: int) -> str:
        return str(self.tokenizer.decode(self._ids[self._start : end], skip_special_tokens=True))

    def _out(self, new: str) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        places = [place for stop in self.stop if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        lengths = [n for stop in self.stop for n in range(1, len(stop)) if text.endswith(stop[:n])]
        keep = max(lengths, default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]
