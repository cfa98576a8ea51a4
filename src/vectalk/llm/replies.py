"""Replies of an LLM, and the cache that stores each reply as soon as it is received."""

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
    """A reply of an LLM.

    Attributes:
        text: the answer.
        finish: why the answer ended: `stop`, or `length`, `content_filter`, ... if it is not complete.
        prompt_tokens: tokens of the messages.
        reply_tokens: tokens of the answer, including hidden reasoning.
        counted: whether the endpoint counted the tokens; otherwise they are estimated.
        refusal: text of the model or the endpoint in place of an answer, if it is marked as a refusal.
        refused: whether the endpoint refused the messages before the LLM got them, which costs nothing.
        reasoning: beginning of the reasoning before the answer, if there is any; not part of the answer.
        retries: number of failed attempts before this reply.
        lost: number of failed attempts that may have been paid for, because they failed after they were sent.
        cached: whether the reply comes from the cache.
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
    """Return a conversation with the text of its system messages before the user's first message.

    Some chat templates accept no system messages.
    """
    system = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    first = next((i for i, message in enumerate(others) if message["role"] == "user"), None)
    if not system or first is None:
        return list(messages)
    merged = {**others[first], "content": "\n\n".join([*system, others[first]["content"]])}
    return [*others[:first], merged, *others[first + 1 :]]


def reply_key(
    model: str, messages: Sequence[Message], params: Mapping[str, Any], version: str = "", sample: int = 0
) -> str:
    """Return the key of a reply: a hash of everything that affects the reply (the endpoint's address does not).

    Args:
        model: identity of the LLM and its weights.
        messages: the conversation.
        params: settings of the request, such as the temperature.
        version: version of the code that made the messages.
        sample: number of the answer, if there are several to the same messages.
    """
    content = [model, list(messages), dict(params), version, sample]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def default_cache() -> Path:
    """Return the default file of the cache: one for all corpora, so that no reply is paid for twice."""
    if place := os.environ.get("VECTALK_CACHE"):
        return Path(place) / "replies.sqlite"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vectalk" / "replies.sqlite"


class ReplyCache:
    """Replies by key in one SQLite file; each reply is committed before it is used.

    Keys are hashes, so the file holds answers but no prompts, addresses or API keys. Several processes may share it.

    Args:
        path: the file; created if it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # answers may be private
            # Each reply is committed to disk on its own, so that no crash of process or machine loses one. The mode WAL
            # makes this three times as fast as a journal.
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, FORMAT):
                raise TeacherError(
                    f"{self.path} is a cache of replies of format {version}, but this version reads format {FORMAT}; "
                    "name another file"
                )
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
        row = self._run("SELECT reply FROM replies WHERE key = ?", key).fetchone()
        return Reply(**json.loads(row[0]), cached=True) if row else None

    def put(self, key: str, reply: Reply, model: str, version: str) -> None:
        """Store a reply permanently."""
        fields = asdict(replace(reply, retries=0, lost=0))
        del fields["cached"]
        self._run(
            "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?)",
            *(key, model, version, reply.reply_tokens, json.dumps(fields, ensure_ascii=False)),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def mean_tokens(self, model: str, version: str) -> float | None:
        """Return the mean length of an LLM's replies to prompts of one version, in tokens; None if there are none."""
        (mean,) = self._run(
            "SELECT AVG(tokens) FROM replies WHERE model = ? AND version = ?", model, version
        ).fetchone()
        return mean

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
