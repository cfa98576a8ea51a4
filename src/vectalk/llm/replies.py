"""Replies of an LLM, and the cache that keeps each of them from the moment it was received."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vectalk.errors import TeacherError

Message = dict[str, str]  # {"role": "user", "content": "..."}
FORMAT = 1


@dataclass(frozen=True)
class Reply:
    """What an LLM answered.

    Attributes:
        text: the answer.
        finish: why it ended: `stop`, or `length`, `content_filter`, ... where it is not whole.
        prompt_tokens: tokens of the messages.
        reply_tokens: tokens of the answer, those of hidden reasoning too.
        counted: whether the endpoint counted the tokens; else they are estimated.
        refusal: what the model or the endpoint said instead of an answer, where that is told apart.
        refused: whether the endpoint would not even pass the messages on, which costs nothing.
        reasoning: how the LLM began to reason before it answered, where it did; no part of the answer.
        retries: attempts before the one that brought this reply.
        lost: how many of these may have been paid for, since they died after they were sent.
        cached: whether it was paid for before.
    """

    text: str
    finish: str
    prompt_tokens: int
    reply_tokens: int
    counted: bool = True
    refusal: str = ""
    refused: bool = False
    reasoning: str = ""
    retries: int = 0
    lost: int = 0
    cached: bool = False


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Return a conversation with what the system says at the head of the user's first message.

    For LLMs whose chat template knows no system.
    """
    said = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    first = next((i for i, message in enumerate(others) if message["role"] == "user"), None)
    if not said or first is None:
        return list(messages)
    whole = {**others[first], "content": "\n\n".join([*said, others[first]["content"]])}
    return [*others[:first], whole, *others[first + 1 :]]


def reply_key(
    model: str, messages: Sequence[Message], params: Mapping[str, Any], version: str = "", sample: int = 0
) -> str:
    """Return the key of a reply: a hash of all that decides it, and of nothing else (not of the endpoint's address).

    Args:
        model: what tells the LLM and its weights from any other.
        messages: the conversation.
        params: what else the LLM is told, e.g. its temperature.
        version: of whatever made the messages.
        sample: several answers to the same messages have numbers.
    """
    content = [model, list(messages), dict(params), version, sample]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def default_cache() -> Path:
    """Return where replies are kept: one place for all corpora, so that nothing is paid for twice."""
    if place := os.environ.get("VECTALK_CACHE"):
        return Path(place) / "replies.sqlite"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vectalk" / "replies.sqlite"


class ReplyCache:
    """Replies by key in one SQLite file. Each is committed before anything is done with it.

    Keys are hashes, so the file holds answers but no prompts, addresses or API keys. Several processes may share it.

    Args:
        path: the file; made where it is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # answers may be private
            # Each reply is a commit of its own, on disk before it is used, so that neither a killed process nor a
            # machine that goes down loses one. A log ahead (WAL) makes that three times quicker than a journal.
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            (found,) = self._db.execute("PRAGMA user_version").fetchone()
            if found not in (0, FORMAT):
                raise TeacherError(f"{self.path} is a cache of replies of format {found}, this version reads {FORMAT}")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS replies"
                " (key TEXT PRIMARY KEY, model TEXT, version TEXT, tokens INTEGER, reply TEXT, received TEXT)"
                " WITHOUT ROWID"
            )
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
        except (sqlite3.Error, OSError) as error:
            raise TeacherError(f"the cache of replies {self.path} cannot be used: {error}; name another file") from None

    def get(self, key: str) -> Reply | None:
        """Return the reply of a key, or None."""
        found = self._run("SELECT reply FROM replies WHERE key = ?", key).fetchone()
        return Reply(**json.loads(found[0]), cached=True) if found else None

    def put(self, key: str, reply: Reply, model: str, version: str) -> None:
        """Keep a reply for good."""
        kept = asdict(replace(reply, retries=0, lost=0))
        del kept["cached"]
        self._run(
            "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?)",
            *(key, model, version, reply.reply_tokens, json.dumps(kept, ensure_ascii=False)),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def mean_tokens(self, model: str, version: str) -> float | None:
        """Return the mean length of the replies of an LLM to prompts of one version; None where there are none."""
        (found,) = self._run(
            "SELECT AVG(tokens) FROM replies WHERE model = ? AND version = ?", model, version
        ).fetchone()
        return found

    def __len__(self) -> int:
        return int(self._run("SELECT COUNT(*) FROM replies").fetchone()[0])

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise TeacherError(f"the cache of replies {self.path} cannot be used: {error}; name another file") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()
