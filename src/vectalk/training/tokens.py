"""Tokenised examples as flat arrays, written once per corpus and tokenizer, and memory-mapped afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from vectalk.errors import CorpusError
from vectalk.files import atomic_folder, write_json
from vectalk.model.prompt import IGNORED, Prompt, PromptFormat, SlotPlace
from vectalk.reading.cards import read_card, stamp
from vectalk.tasks.corpus.corpus import Corpus

FORMAT = 2
FOLDER = ".tokens"
ROWS = 4096  # examples tokenised at once
KINDS = {
    "ids": np.int32,
    "lengths": np.int32,
    "answers": np.int32,
    "tasks": np.int16,
    "slots": np.int16,
    "slot_names": np.int16,
    "slot_spaces": np.int16,
    "slot_rows": np.int64,
    "slot_places": np.int32,
}
# Offsets of each example's ids and slots, plus the end: cumulative sums of lengths and of slots, also on disk.
STARTS = {"starts": "lengths", "slot_starts": "slots"}


class TokensCard(BaseModel):
    """The content of `tokens.json`: the number of values in each file, and the names of spaces, slots and tasks."""

    sizes: dict[str, int]
    spaces: list[str]
    names: list[str]
    tasks: list[str]


@dataclass(frozen=True)
class Slots:
    """Slots of some examples, as arrays [M]; `example` is the index among the requested examples."""

    example: np.ndarray
    name: np.ndarray
    space: np.ndarray
    row: np.ndarray
    place: np.ndarray


class Tokens:
    """Examples of one split as token ids.

    Args:
        arrays: ids of all examples, concatenated; for each example its length, the position of its answer and its
            number of slots; for each slot its name, space, row and first position. `STARTS` are optional.
        spaces: names of the spaces, by number.
        names: names of the slots, by number.
        tasks: names of the tasks, by number.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], spaces: list[str], names: list[str], tasks: list[str]) -> None:
        self.ids, self.lengths, self.answers = arrays["ids"], np.asarray(arrays["lengths"]), arrays["answers"]
        self.arrays, self.spaces, self.names, self.tasks = arrays, spaces, names, tasks
        self.starts, self.slot_starts = (
            arrays[name] if name in arrays else np.concatenate([[0], np.cumsum(arrays[of], dtype=np.int64)])
            for name, of in STARTS.items()
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of_table(cls, table: pa.Table, prompts: PromptFormat) -> Tokens:
        """Tokenise a table in memory."""
        return cls._of_batches(table.to_batches(max_chunksize=ROWS), prompts)

    @classmethod
    def _of_batches(cls, batches: Iterable[pa.RecordBatch], prompts: PromptFormat) -> Tokens:
        writer = _Encoder(prompts)
        parts = [writer.encode(batch) for batch in batches]
        empty = {name: np.zeros(0, kind) for name, kind in KINDS.items()}
        arrays = {name: np.concatenate([empty[name], *(part[name] for part in parts)]) for name in KINDS}
        return cls(arrays, writer.spaces, writer.names, writer.tasks)

    @classmethod
    def of_corpus(
        cls,
        corpus: Corpus,
        split_name: str,
        prompts: PromptFormat,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Tokens:
        """Open the tokenised examples of a split in the corpus folder; tokenise the split first if necessary.

        Args:
            corpus: the corpus.
            split_name: `train`, `validation` or `test`.
            prompts: turns questions into prompts.
            progress: called with the number of tokenised and of all examples, if the split has to be tokenised.
        """
        known = {
            "format": FORMAT,
            "corpus": hashlib.sha256((corpus.path / "corpus.json").read_bytes()).hexdigest(),
            "frame": asdict(prompts.frame),
            "soft_tokens": prompts.soft_tokens,
            "tokenizer": prompts.tokenizer_hash,
        }
        key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
        folder = corpus.path / FOLDER / f"{split_name}-{key}"
        if not (folder / "tokens.json").is_file():
            batches = _counted(stream(corpus, split_name), int(corpus.card["counts"][split_name]), progress)
            try:
                folder.parent.mkdir(exist_ok=True)
            except OSError:  # a read-only corpus folder
                return cls._of_batches(batches, prompts)
            cls._write(folder, batches, prompts)
        card: TokensCard = read_card(folder / "tokens.json", FORMAT, TokensCard, CorpusError)
        arrays = {}
        for name, kind in {**KINDS, **dict.fromkeys(STARTS, np.int64)}.items():
            path, size = folder / f"{name}.bin", card.sizes.get(name)
            if size is None or not path.is_file() or path.stat().st_size != size * np.dtype(kind).itemsize:
                raise CorpusError(f"{folder} is damaged: the size of {path.name} differs from tokens.json; remove it")
            arrays[name] = np.memmap(path, kind, "r") if size else np.zeros(0, kind)
        return cls(arrays, card.spaces, card.names, card.tasks)

    @staticmethod
    def _write(folder: Path, batches: Iterable[pa.RecordBatch], prompts: PromptFormat) -> None:
        sizes, writer = {**dict.fromkeys(KINDS, 0), **dict.fromkeys(STARTS, 1)}, _Encoder(prompts)
        reached = dict.fromkeys(STARTS, 0)
        with atomic_folder(folder, "tokens.json", overwrite=True) as part:
            with ExitStack() as stack:
                files = {name: stack.enter_context((part / f"{name}.bin").open("wb")) for name in sizes}
                for name in STARTS:
                    files[name].write(np.zeros(1, np.int64).tobytes())
                for batch in batches:
                    encoded: dict[str, np.ndarray] = writer.encode(batch)
                    for name, of in STARTS.items():
                        encoded[name] = reached[name] + np.cumsum(encoded[of], dtype=np.int64)
                        reached[name] = int(encoded[name][-1]) if len(encoded[name]) else reached[name]
                    for name, values in encoded.items():
                        files[name].write(values.tobytes())
                        sizes[name] += len(values)
            card = {
                **stamp(FORMAT),
                "sizes": sizes,
                "spaces": writer.spaces,
                "names": writer.names,
                "tasks": writer.tasks,
            }
            write_json(part / "tokens.json", {**stamp(FORMAT), **card})

    def words(self, numbers: np.ndarray) -> np.ndarray:
        """Return the ids of some examples, concatenated."""
        parts = [self.ids[self.starts[n] : self.starts[n + 1]] for n in numbers]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def slots(self, numbers: np.ndarray) -> Slots:
        """Return the slots of some examples."""
        counts = self.slot_starts[numbers + 1] - self.slot_starts[numbers]
        example = np.repeat(np.arange(len(numbers)), counts)
        at = np.repeat(self.slot_starts[numbers] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        columns = (self.arrays[name][at] for name in ("slot_names", "slot_spaces", "slot_rows", "slot_places"))
        return Slots(example, *columns)

    def prompt(self, number: int, soft_tokens: Mapping[str, int]) -> Prompt:
        """Return one example as a prompt."""
        ids, slots = self.words(np.array([number])).tolist(), self.slots(np.array([number]))
        places = tuple(
            SlotPlace(self.names[name], self.spaces[space], int(place), soft_tokens[self.spaces[space]])
            for name, space, place in zip(slots.name, slots.space, slots.place, strict=True)
        )
        answer = int(self.answers[number])
        return Prompt(tuple(ids), places, (IGNORED,) * answer + tuple(ids[answer:]))


def stream(corpus: Corpus, split_name: str) -> Iterator[pa.RecordBatch]:
    """Yield the examples of a split in batches of a few thousand."""
    for table in corpus.batches(split_name, ROWS):
        yield from table.to_batches()


def _counted(
    batches: Iterable[pa.RecordBatch], total: int, progress: Callable[[int, int], None]
) -> Iterator[pa.RecordBatch]:
    """Yield batches, and report the number of rows done."""
    done = 0
    progress(done, total)
    for batch in batches:
        yield batch
        done += batch.num_rows
        progress(done, total)


class _Encoder:
    """Turns rows of a corpus into arrays. There are few wordings of questions, and each is tokenised once."""

    def __init__(self, prompts: PromptFormat) -> None:
        self.prompts, self.spaces, self.names = prompts, list(prompts.soft_tokens), list[str]()
        self.tasks: list[str] = []
        self.questions: dict[Any, Prompt] = {}

    def encode(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        answers = self.prompts.answers(batch["target"].to_pylist())
        values: dict[str, list[Any]] = {name: [] for name in KINDS}
        fields = (batch[name].to_pylist() for name in ("task", "prompt", "slots"))
        for task, question, slots, answer in zip(*fields, answers, strict=True):
            if task not in self.tasks:
                self.tasks.append(task)
            values["tasks"].append(self.tasks.index(task))
            spaces = {s["slot"]: s["space"] for s in slots}
            key = (question, *spaces.items())
            prompt = self.questions.get(key)
            if prompt is None:
                if len(self.questions) > 65_536:
                    self.questions.clear()
                prompt = self.questions[key] = self.prompts(question, spaces)
            if not answer:
                self.prompts(question, spaces, "")  # raises the error about an empty target
            ids = (*prompt.ids, *answer, *self.prompts.end)
            values["ids"].extend(ids)
            values["lengths"].append(len(ids))
            values["answers"].append(len(prompt))
            values["slots"].append(len(prompt.slots))
            rows = {s["slot"]: s["row"] for s in slots}
            for slot in prompt.slots:
                if slot.name not in self.names:
                    self.names.append(slot.name)
                values["slot_names"].append(self.names.index(slot.name))
                values["slot_spaces"].append(self.spaces.index(slot.space))
                values["slot_rows"].append(rows[slot.name])
                values["slot_places"].append(slot.start)
        return {name: np.array(values[name], kind) for name, kind in KINDS.items()}
