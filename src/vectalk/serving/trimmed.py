"""`Trimmed`: a stream of text without the blanks at its beginning and end."""

from __future__ import annotations


class Trimmed:
    """Removes outer blanks from pieces of text, so that together they are the text of the complete answer."""

    def __init__(self) -> None:
        self._begun, self._blanks = False, ""

    def push(self, piece: str) -> str:
        """Return what can be sent of the text so far."""
        text = self._blanks + piece
        text = text if self._begun else text.lstrip()
        body = text.rstrip()
        self._blanks = text[len(body) :]
        self._begun = self._begun or bool(body)
        return body
