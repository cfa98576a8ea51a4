"""Order of the examples and batches of them: decided by seed and step alone, so that a run can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import TrainingError
from vectalk.model.batch import Batch, collate
from vectalk.model.prompt import Prompt, PromptFormat
from vectalk.space import VectorSpace

LONGEST = 64  # examples tokenised beforehand; by characters, which is near enough
POOL = 50  # batches among which examples are sorted by length


def length_grouped(lengths: np.ndarray, batch_size: int, seed: Sequence[int], start: int = 0) -> Iterator[np.ndarray]:
    """Yield batches of example numbers for ever, each of examples of similar length.

    Args:
        lengths: [N] length of each example, in any unit.
        batch_size: examples a batch.
        seed: decides the order; the epoch's number is added to it.
        start: batches to leave out, for a run that goes on.
    """
    per_epoch = -(-len(lengths) // batch_size)
    epoch, skip = divmod(start, per_epoch)
    while True:
        rng = np.random.default_rng([*seed, epoch])
        order = rng.permutation(len(lengths))
        pool = POOL * batch_size
        chunks = [order[i : i + pool] for i in range(0, len(order), pool)]
        grouped = np.concatenate([chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks])
        batches = [grouped[i : i + batch_size] for i in range(0, len(grouped), batch_size)]
        for number in rng.permutation(len(batches))[skip:]:
            yield batches[number]
        epoch, skip = epoch + 1, 0


class Examples:
    """Examples of one split, tokenised when a batch needs them.

    Args:
        table: rows of a corpus.
        spaces: spaces by name.
        prompts: makes prompts of questions.
        context: longest prompt with its answer that the LLM takes, in tokens.
        noise: standard deviation of the noise on vectors, in units of the space's scale.
    """

    def __init__(
        self,
        table: pa.Table,
        spaces: Mapping[str, VectorSpace],
        prompts: PromptFormat,
        context: int | None = None,
        noise: float = 0.0,
    ) -> None:
        table = table.combine_chunks()  # else every batch looks through all chunks
        self.table, self.spaces, self.prompts = table, spaces, prompts
        self.context, self.noise = context, noise
        self.dims = {name: space.dim for name, space in spaces.items()}
        self.lengths = np.asarray(pc.add(pc.utf8_length(table["prompt"]), pc.utf8_length(table["target"])))

    def __len__(self) -> int:
        return self.table.num_rows

    def of_tasks(self, tasks: Sequence[str] | None) -> np.ndarray:
        """Return the numbers of the examples of some tasks; of all when None."""
        if tasks is None:
            return np.arange(len(self))
        return np.flatnonzero(np.asarray(pc.is_in(self.table["task"], pa.array(tasks))))

    def target_ids(self, numbers: np.ndarray) -> list[tuple[int, ...]]:
        """Return the tokens of some targets, without what ends an answer."""
        return [self.prompts.answer(text) for text in self.table["target"].take(numbers).to_pylist()]

    def check_longest(self) -> None:
        """Tokenise the longest examples, so that one that does not fit is found before training and not during it."""
        if self.context is not None:
            self._prompts(np.argsort(-self.lengths, kind="stable")[:LONGEST])

    def prompt(self, number: int) -> tuple[Prompt, dict[str, tuple[str, int]]]:
        """Return one example's prompt, labels included, and its slots (space, row)."""
        return self._prompts(np.array([number]))[0]

    def _prompts(self, numbers: np.ndarray) -> list[tuple[Prompt, dict[str, tuple[str, int]]]]:
        made = []
        for number, row in zip(numbers, self.table.take(numbers).to_pylist(), strict=True):
            slots = {s["slot"]: (s["space"], s["row"]) for s in row["slots"]}
            prompt = self.prompts(row["prompt"], {s: space for s, (space, _) in slots.items()}, row["target"])
            if self.context is not None and len(prompt) > self.context:
                raise TrainingError(
                    f"example {number} (task {row['task']!r}) is {len(prompt)} tokens long, "
                    f"the LLM takes {self.context}: "
                    "shorten its target, or take an LLM with a longer context"
                )
            made.append((prompt, slots))
        return made

    def batch(
        self, numbers: np.ndarray, *, shuffle: int | None = None, noise_seed: Sequence[int] | None = None
    ) -> Batch:
        """Return the batch of some examples.

        Args:
            numbers: example numbers [B].
            shuffle: give each example the vectors of the one so many places further, as a control.
            noise_seed: seed of the noise on vectors; none is added without it.
        """
        made = self._prompts(numbers)
        rng = None if noise_seed is None or self.noise == 0 else np.random.default_rng(noise_seed)
        vectors = []
        for i, (_, slots) in enumerate(made):
            given = {}
            for slot, (space_name, row) in slots.items():
                space = self.spaces[space_name]
                if shuffle is not None:
                    row = self._other(made, i + shuffle, space_name, row)
                vector: np.ndarray = np.asarray(space.vectors[row], np.float32)
                if rng is not None:
                    vector = vector + self.noise * space.normalizer.scale * rng.standard_normal(len(vector), np.float32)
                given[slot] = vector
            vectors.append(given)
        return collate([p for p, _ in made], vectors, self.dims, self.prompts.pad_id)

    @staticmethod
    def _other(made: list[tuple[Prompt, dict[str, tuple[str, int]]]], place: int, space: str, row: int) -> int:
        """Return the row of another entity of that space, from the examples that follow."""
        for step in range(len(made)):
            for other_space, other in made[(place + step) % len(made)][1].values():
                if other_space == space and other != row:
                    return other
        return row
