"""`TokenBytes`: the bytes that each token adds to a text."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from functools import cached_property
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BLANK = "▁"  # how sentencepiece writes a blank
# Texts that decide whether the bytes of the tokens are right. A text with an unknown token decides nothing.
_PROBES = (
    'Fans of "Heat (1995)", and of "Alien"; 3 of them: yes!',
    "Like “Alien (1979)” – or ‘It’.",
    "Ærø, Łódź, naïve",
    "Сталкер и 東京物語 🏝",
)
Reader = Callable[[str], bytes]


class TokenBytes:
    """The bytes of all tokens of a tokenizer, searchable by their beginnings.

    Args:
        pieces: token id -> its bytes; None for a token that adds no text, such as a special token.

    Attributes:
        ids: bytes -> the tokens with exactly these bytes.
        beginnings: all beginnings of tokens, complete tokens included.
    """

    def __init__(self, pieces: list[bytes | None]) -> None:
        self.pieces = pieces
        self.ids: dict[bytes, list[int]] = {}
        for token, piece in enumerate(pieces):
            if piece:
                self.ids.setdefault(piece, []).append(token)
        self.ordered = sorted(self.ids)
        self.beginnings = {piece[:length] for piece in self.ids for length in range(1, len(piece) + 1)}

    @classmethod
    def of(cls, tokenizer: Any) -> TokenBytes | None:
        """Return the bytes of a tokenizer's tokens, or None for a kind of tokenizer whose tokens have no fixed bytes.

        Byte-level BPE (GPT-2 and its successors) and sentencepiece, with or without byte tokens, are supported. The
        bytes are compared with the tokenizer's own encoding and decoding of a few texts.
        """
        for reader in (_byte_level(), _sentencepiece):
            table = cls._read(tokenizer, reader)
            if table is not None and table._agrees(tokenizer):
                return table
        return None

    @classmethod
    def _read(cls, tokenizer: Any, reader: Reader) -> TokenBytes | None:
        """Return the bytes of all tokens by one rule; None where the rule does not fit the vocabulary."""
        added = tokenizer.added_tokens_decoder
        special = {*tokenizer.all_special_ids, *(token for token, one in added.items() if one.special)}
        vocabulary = tokenizer.get_vocab()
        pieces: list[bytes | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
        for text, token in vocabulary.items():
            if token in special:
                continue
            try:
                pieces[token] = str(added[token].content).encode() if token in added else reader(text)
            except (KeyError, UnicodeEncodeError):
                return None
        return cls(pieces)

    def _agrees(self, tokenizer: Any) -> bool:
        unknown, compared = tokenizer.unk_token_id, 0
        for text in _PROBES:
            ids = tokenizer(text, add_special_tokens=False).input_ids
            if unknown in ids:
                continue
            joined = b"".join(self.pieces[token] or b"" for token in ids).removeprefix(b" ")
            decoded = str(tokenizer.decode(ids, skip_special_tokens=True)).removeprefix(" ")
            if joined != text.encode() or decoded != text:
                return False
            compared += 1
        return compared > 0

    def __getitem__(self, token: int) -> bytes:
        """Return the bytes of a token; empty where the token adds no text."""
        return (self.pieces[token] if token < len(self.pieces) else None) or b""

    def longer_than(self, beginning: bytes) -> list[bytes]:
        """Return the bytes of all tokens that begin with these bytes and continue."""
        start = bisect_left(self.ordered, beginning + b"\0")
        return self.ordered[start : bisect_left(self.ordered, beginning + b"\xff", start)]

    @cached_property
    def broken(self) -> frozenset[bytes]:
        """Tokens with incomplete characters."""
        return frozenset(piece for piece in self.ids if not _is_text(piece))

    @cached_property
    def has_bytes(self) -> bool:
        """Whether single bytes are tokens, as in byte-level BPE and with the byte tokens of sentencepiece."""
        return all(bytes([value]) in self.ids for value in range(0x80, 0xC0))  # those that continue a character

    def spells(self, name: bytes) -> bool:
        """Return whether tokens can write the rest of a name from wherever other tokens may have ended.

        With bytes as tokens, each byte of the name must be one. Otherwise each character must be a token, and tokens
        with incomplete characters are not used within names (see `usable`).
        """
        if self.has_bytes:
            return all(name[i : i + 1] in self.ids for i in range(len(name)))
        return all(character.encode() in self.ids for character in name.decode())

    def usable(self, piece: bytes) -> bool:
        """Return whether these bytes are a token that may be used within names."""
        return piece in self.ids and (self.has_bytes or piece not in self.broken)


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _byte_level() -> Reader:
    """Return the reader of byte-level BPE, which writes each byte as one printable character."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [value for value in range(256) if value not in printable]
    values = {chr(value): value for value in printable} | {chr(256 + n): value for n, value in enumerate(others)}
    return lambda text: bytes(values[character] for character in text)


def _sentencepiece(text: str) -> bytes:
    byte = _BYTE.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else text.replace(_BLANK, " ").encode()
