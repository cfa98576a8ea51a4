"""Ask a generator many questions and save each answer: the answers are the expensive part of an evaluation."""

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

CHUNK = 128  # answers per write to the file
WITHOUT_EFFECT = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0}

Slots = dict[str, tuple[str, np.ndarray]]
"""Slot name -> (name of the space, vector [D])."""

Ask = Callable[[Sequence[tuple[str, Slots]], str], list[str]]
"""Maps questions to answers; the second argument is the label of the questions in the progress."""

Progress = Callable[[str, int, int], None]
"""Called with a label of the current step, the number of finished items, and the total."""


class Generator(Protocol):
    """A model that answers questions about vectors with greedy decoding: a question always has the same answer."""

    spaces: dict[str, VectorSpace]

    def generate(
        self,
        prompts: Sequence[str],
        slots: Sequence[Slots],
        *,
        max_new_tokens: int,
        progress: Callable[[int, int], None],
    ) -> list[str]:
        """Return one answer for each prompt and the vectors in its slots; call progress with (done, total)."""
        ...


class AnswerCache:
    """Answers by the key of their question, in a file. New answers are appended; answers in the file are reused.

    Args:
        path: the file, JSON lines of `{key, answer}`.
        progress: see `Progress`.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self.progress = path, progress
        self._known: dict[str, str] = {}
        if path.is_file():
            for row in whole_rows(path):  # an interrupted run may leave an incomplete last line
                if isinstance(row.get("key"), str) and isinstance(row.get("answer"), str):
                    self._known[row["key"]] = row["answer"]

    def __call__(
        self,
        keys: Sequence[str],
        what: str,
        answer: Callable[[list[int], Callable[[int, int], None]], Sequence[str]],
    ) -> list[str]:
        """Return the answer of each key; each key is answered only once.

        Args:
            keys: one key for each question; equal keys mean the same question.
            what: label of the questions in the progress.
            answer: takes indices of keys and a progress function, and returns the answers to these questions.

        Raises:
            EvaluationError: `answer` returned another number of answers than there are questions.
        """
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        missing = sorted(i for key, i in first.items() if key not in self._known)
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            texts = answer(chunk, lambda done, _, start=start: self.progress(what, start + done, len(missing)))  # type: ignore[misc]
            if len(texts) != len(chunk):
                raise EvaluationError(f"the generator returned {len(texts)} answers to {len(chunk)} questions")
            self._append({keys[i]: text for i, text in zip(chunk, texts, strict=True)})
        self.progress(what, len(missing), len(missing))
        return [self._known[key] for key in keys]

    def _append(self, answers: Mapping[str, str]) -> None:
        self._known.update(answers)
        lines = [json.dumps({"key": key, "answer": answer}, ensure_ascii=False) for key, answer in answers.items()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A line end comes first: an incomplete last line must not join the first new line.
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + "\n".join(lines))


class Answers:
    """Asks a generator. Conditions that ask the same question share one answer.

    So the mean control needs one answer for each prompt. The shuffled control permutes the vectors among the test
    entities; where another example already asks the same question about this vector, it needs no new answer.

    Args:
        generator: the model.
        cache: stores the answers.
        identity: identifies the generator and its weights.
        max_new_tokens: longest answer, in tokens.
        settings: further decoding settings that the generator takes, as the user gave them.
    """

    def __init__(
        self, generator: Generator, cache: AnswerCache, *, identity: str, max_new_tokens: int, **settings: Any
    ) -> None:
        self.generator, self.cache = generator, cache
        self.decoding = {"max_new_tokens": max_new_tokens, **settings}
        used = decoding_of(generator, self.decoding)
        # A setting without effect is no part of the key: answers of older evaluations remain usable.
        effective = {name: used[name] for name, value in WITHOUT_EFFECT.items() if used.get(name, value) != value}
        self.mark = f"{identity}\0{max_new_tokens}" + (f"\0{json.dumps(effective)}" if effective else "")

    def __call__(self, questions: Sequence[tuple[str, Slots]], what: str) -> list[str]:
        """Return one answer for each question; `what` is the label of the questions in the progress."""

        def answer(places: list[int], progress: Callable[[int, int], None]) -> Sequence[str]:
            prompts, slots = [questions[i][0] for i in places], [questions[i][1] for i in places]
            return self.generator.generate(prompts, slots, progress=progress, **self.decoding)

        return self.cache([self._key(prompt, slots) for prompt, slots in questions], what, answer)

    def _key(self, prompt: str, slots: Slots) -> str:
        digest = hashlib.sha256(f"{self.mark}\0{prompt}".encode())
        for slot in sorted(slots):
            space, vector = slots[slot]
            digest.update(f"\0{slot}\0{space}\0".encode() + np.asarray(vector, np.float32).tobytes())
        return digest.hexdigest()


def decoding_of(generator: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete decoding settings of a generator that fills in what is left out; else the settings alone."""
    complete = getattr(generator, "decoding", None)
    return dict(settings) if complete is None else dict(complete(**settings).settings())


def run_identity(generator: Any) -> str:
    """Return a string that identifies a generator and its weights.

    It is the `fingerprint` of the generator, if there is one. Otherwise it is a hash of the class name and, for a run
    folder, of the card and of the size and time of each weight file.
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
            relative = file.relative_to(folder)  # moving the run folder must not change the hash
            if relative.parts[0] not in ("checkpoints", "readback"):
                stat = file.stat()
                digest.update(f"{relative} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def run_path(generator: Any) -> str | None:
    """Return the folder of the generator's run, or None if there is none."""
    path = getattr(getattr(generator, "run", generator), "path", None)
    return None if path is None else str(path)
