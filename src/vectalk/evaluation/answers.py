"""Ask a generator many questions, keeping the answers as they come: they are the dear part of an evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.files import whole_rows
from vectalk.space import VectorSpace

CHUNK = 128  # questions between two writes

Slots = dict[str, tuple[str, np.ndarray]]
"""Slot name -> (space, vector [D])."""

Ask = Callable[[Sequence[tuple[str, Slots]], str], list[str]]
"""Answers questions; the second argument names them in the progress."""

Progress = Callable[[str, int, int], None]
"""Called with what is going on, how much is done, and how much there is."""


class Generator(Protocol):
    """What answers questions about vectors, greedily: the same question has the same answer."""

    spaces: dict[str, VectorSpace]

    def generate(
        self,
        prompts: Sequence[str],
        slots: Sequence[Slots],
        *,
        max_new_tokens: int,
        progress: Callable[[int, int], None],
    ) -> list[str]:
        """Return an answer for each prompt and the vectors in its slots; tell progress (done, total)."""
        ...


class Kept:
    """Answers by the key of their question, in a file that grows as they come; what it holds already is reused.

    Args:
        path: the file.
        progress: see `Progress`.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self.progress = path, progress
        self._known: dict[str, str] = {}
        if path.is_file():
            for row in whole_rows(path):  # the last line of an interrupted run may be torn
                if isinstance(row.get("key"), str) and isinstance(row.get("answer"), str):
                    self._known[row["key"]] = row["answer"]

    def __call__(
        self,
        keys: Sequence[str],
        what: str,
        answer: Callable[[list[int], Callable[[int, int], None]], Sequence[str]],
    ) -> list[str]:
        """Return the answer of each key; the same key is answered once.

        Args:
            keys: tell questions apart.
            what: names them in the progress.
            answer: answers the questions of these places, and tells progress.
        """
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        asked = sorted(i for key, i in first.items() if key not in self._known)
        for start in range(0, len(asked), CHUNK):
            chunk = asked[start : start + CHUNK]
            found = answer(chunk, lambda done, _, start=start: self.progress(what, start + done, len(asked)))  # type: ignore[misc]
            if len(found) != len(chunk):
                raise EvaluationError(f"the generator gave {len(found)} answers to {len(chunk)} questions")
            self._keep({keys[i]: text for i, text in zip(chunk, found, strict=True)})
        self.progress(what, len(asked), len(asked))
        return [self._known[key] for key in keys]

    def _keep(self, found: Mapping[str, str]) -> None:
        self._known.update(found)
        lines = [json.dumps({"key": key, "answer": answer}, ensure_ascii=False) for key, answer in found.items()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Begins with a line end, so that a torn last line spoils no new one.
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + "\n".join(lines))


class Answers:
    """Asks a generator. The same question is asked once, whatever condition asks it.

    So the mean control costs one answer a prompt, and the shuffled control, which permutes the vectors among
    the test entities, costs nothing beyond the answers with the right ones.

    Args:
        generator: what is asked.
        kept: where answers are kept.
        identity: tells the generator and its weights from any other.
        max_new_tokens: longest answer.
    """

    def __init__(self, generator: Generator, kept: Kept, *, identity: str, max_new_tokens: int) -> None:
        self.generator, self.kept = generator, kept
        self.identity, self.max_new_tokens = identity, max_new_tokens

    def __call__(self, questions: Sequence[tuple[str, Slots]], what: str) -> list[str]:
        """Return an answer for each question; `what` names them in the progress."""

        def answer(places: list[int], progress: Callable[[int, int], None]) -> Sequence[str]:
            prompts, slots = [questions[i][0] for i in places], [questions[i][1] for i in places]
            return self.generator.generate(prompts, slots, max_new_tokens=self.max_new_tokens, progress=progress)

        return self.kept([self._key(prompt, slots) for prompt, slots in questions], what, answer)

    def _key(self, prompt: str, slots: Slots) -> str:
        digest = hashlib.sha256(f"{self.identity}\0{self.max_new_tokens}\0{prompt}".encode())
        for slot in sorted(slots):
            space, vector = slots[slot]
            digest.update(f"\0{slot}\0{space}\0".encode() + np.asarray(vector, np.float32).tobytes())
        return digest.hexdigest()


def run_identity(generator: Any) -> str:
    """Return what tells a generator and its weights from any other.

    Its own `fingerprint` where it has one; else, of a run folder, its card and the size and time of its weights.
    """
    if getattr(generator, "fingerprint", None):
        return str(generator.fingerprint)
    digest = hashlib.sha256(type(generator).__qualname__.encode())
    path = run_path(generator)
    folder = Path(path) if path else None
    if folder is not None and folder.is_dir():
        card = folder / "elm.json"
        digest.update(card.read_bytes() if card.is_file() else b"")
        for file in sorted(folder.rglob("*.safetensors")):
            place = file.relative_to(folder)  # the names of the folders above a run say nothing
            if place.parts[0] not in ("checkpoints", "readback"):
                stat = file.stat()
                digest.update(f"{place} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def run_path(generator: Any) -> str | None:
    """Return the folder of a generator's run, where it has one."""
    path = getattr(getattr(generator, "run", generator), "path", None)
    return None if path is None else str(path)
