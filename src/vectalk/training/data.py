"""Training examples as flat arrays, from which a batch is built in less than a millisecond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch

from vectalk.errors import PromptError, TrainingError
from vectalk.model.batch import Batch
from vectalk.model.prompt import IGNORED, Prompt, PromptFormat
from vectalk.space import VectorSpace
from vectalk.training.tokens import Slots, Tokens


class Examples:
    """Examples of one split, ready for batches.

    Args:
        source: tokenised examples, or rows of a corpus.
        spaces: name -> space.
        prompts: turns questions into prompts.
        context: longest prompt plus answer that the LLM accepts, in tokens; None: no limit.
        noise: standard deviation of the noise on vectors, in units of the space's scale.

    Attributes:
        lengths: [N] number of tokens of each example.
        weighted: whether weights of tokens apply to the loss of these examples.
    """

    weighted = True

    def __init__(
        self,
        source: Tokens | pa.Table,
        spaces: Mapping[str, VectorSpace],
        prompts: PromptFormat,
        context: int | None = None,
        noise: float = 0.0,
    ) -> None:
        self.tokens = source if isinstance(source, Tokens) else Tokens.of_table(source, prompts)
        self.spaces, self.prompts, self.context, self.noise = spaces, prompts, context, noise
        self.lengths = self.tokens.lengths

    def __len__(self) -> int:
        return len(self.tokens)

    def of_tasks(self, tasks: Sequence[str] | None) -> np.ndarray:
        """Return the numbers of the examples of some tasks; of all tasks when None."""
        if tasks is None:
            return np.arange(len(self))
        indices = [i for i, name in enumerate(self.tokens.tasks) if name in tasks]
        return np.flatnonzero(np.isin(self.task_numbers, indices))

    @property
    def task_numbers(self) -> np.ndarray:
        """[N] number of each example's task."""
        return self.tokens.arrays["tasks"]

    def task(self, number: int) -> str:
        """Return the task of an example."""
        return self.tokens.tasks[int(self.task_numbers[number])]

    def target_ids(self, numbers: np.ndarray) -> list[tuple[int, ...]]:
        """Return the token ids of some targets, without the end tokens."""
        tokens, end = self.tokens, len(self.prompts.end)
        starts = tokens.starts[numbers] + tokens.answers[numbers]
        stops = tokens.starts[np.asarray(numbers) + 1] - end
        return [tuple(tokens.ids[a:b].tolist()) for a, b in zip(starts, stops, strict=True)]

    def check_longest(self, split: str = "training") -> None:
        """Raise a TrainingError when an example does not fit into the LLM's context, before training starts."""
        number = int(np.argmax(self.lengths)) if len(self) else 0
        if self.context is not None and len(self) and self.lengths[number] > self.context:
            many = int((self.lengths > self.context).sum())
            slots = self.prompt(number)[1].items()
            about = ", ".join(f"{slot} = {self.spaces[space].title(row)}" for slot, (space, row) in slots)
            raise TrainingError(
                f"{split} example {number} (task {self.task(number)!r}, {about}) is {self.lengths[number]} tokens "
                f"long, but the LLM accepts {self.context} ({many} such examples); shorten the targets, or take an LLM "
                "with a longer context"
            )

    def prompt(self, number: int) -> tuple[Prompt, dict[str, tuple[str, int]]]:
        """Return the prompt of an example, with labels, and its slots: slot name -> (space, row)."""
        tokens, slots = self.tokens, self.tokens.slots(np.array([number]))
        rows = {
            tokens.names[name]: (tokens.spaces[space], int(row))
            for name, space, row in zip(slots.name, slots.space, slots.row, strict=True)
        }
        return tokens.prompt(number, self.prompts.soft_tokens), rows

    def supervised(self, numbers: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Return the number of tokens to learn in some examples, or the sum of these tokens' weights [V]."""
        answers = self.tokens.answers[numbers]
        if weights is None:
            return int((self.lengths[numbers] - answers).sum())
        starts, stops = self.tokens.starts[numbers] + answers, self.tokens.starts[numbers + 1]
        return float(sum(weights[self.tokens.ids[a:b]].sum() for a, b in zip(starts, stops, strict=True)))

    def batch(
        self,
        numbers: np.ndarray,
        *,
        part: tuple[int, int] = (0, 1),
        shuffle: int | None = None,
        noise_seed: Sequence[int] | None = None,
    ) -> Batch:
        """Return the batch of some examples.

        Args:
            numbers: example numbers [B].
            part: `(k, n)` takes examples k, k + n, k + 2n, ... of `numbers` only. The noise does not depend on the
                part. A part without examples has one example without labels.
            shuffle: as a control, give each example the vectors of the example that is this many places further.
            noise_seed: seed of the noise on vectors; None: no noise.
        """
        mine = np.arange(*part[:1], len(numbers), part[1])
        silent = len(mine) == 0
        mine = mine if len(mine) else np.zeros(1, np.int64)
        slots = self.tokens.slots(numbers)
        rows = slots.row if shuffle is None else _others(slots, len(numbers), shuffle)
        vectors = self._vectors(slots, rows, noise_seed)
        own = numbers[mine]
        lengths, answers = self.lengths[own].astype(np.int64), self.tokens.answers[own].astype(np.int64)
        shape = (len(own), int(lengths.max()))
        example = np.repeat(np.arange(len(own)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        at = (example, within)
        ids = np.full(shape, self.prompts.pad_id, np.int64)
        mask, labels = np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64)
        words = self.tokens.words(own)
        ids[at], mask[at] = words, 1
        if not silent:
            labels[at] = np.where(within >= answers[example], words, IGNORED)
        placed = self._placed(slots, vectors, mine)
        before = _before(slots, mine, int(answers.min()))
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(mask),
            torch.from_numpy(labels),
            *placed,
            padded_right=True,
            shared=_common(ids, before) if len(own) > 1 else 0,
            before=before,
        )

    def _vectors(self, slots: Slots, rows: np.ndarray, noise_seed: Sequence[int] | None) -> dict[int, np.ndarray]:
        """Return for each space the vectors of all slots [M, D]; rows of slots of other spaces are zero."""
        by_space = {}
        rng = None if noise_seed is None or self.noise == 0 else np.random.default_rng(noise_seed)
        for number, name in enumerate(self.tokens.spaces):
            space, of_space = self.spaces[name], slots.space == number
            if not of_space.any():
                continue
            values = np.zeros((len(rows), space.dim), np.float32)
            values[of_space] = space.vectors[rows[of_space]]
            if not np.isfinite(values).all():
                bad = int(rows[np.argmin(np.isfinite(values).all(1))])
                raise PromptError(f"space {name!r}: the vector of row {bad} contains NaN or infinity; fix the space")
            if rng is not None:
                noise = rng.standard_normal((int(of_space.sum()), space.dim), np.float32)
                values[of_space] += self.noise * space.normalizer.scale * noise
            by_space[number] = values
        return by_space

    def _placed(
        self, slots: Slots, vectors: Mapping[int, np.ndarray], mine: np.ndarray
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return vectors, masks and positions by space, in the row layout of the batch."""
        values, masks, positions = {}, {}, {}
        number = np.full(int(slots.example.max(initial=0)) + 1, -1)
        number[mine[mine < len(number)]] = np.arange(len(mine))[mine < len(number)]
        for space, slot_vectors in vectors.items():
            indices = np.flatnonzero((slots.space == space) & (number[slots.example] >= 0))
            if not len(indices):
                continue
            row = number[slots.example[indices]]
            order = np.argsort(row, kind="stable")
            indices, row = indices[order], row[order]
            counts = np.bincount(row, minlength=len(mine))
            k = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
            shape = (len(mine), int(counts.max()))
            value, mask, place = (
                np.zeros((*shape, slot_vectors.shape[1]), np.float32),
                np.zeros(shape, bool),
                np.zeros(shape, np.int64),
            )
            value[row, k], mask[row, k], place[row, k] = slot_vectors[indices], True, slots.place[indices]
            name = self.tokens.spaces[space]
            values[name], masks[name], positions[name] = map(torch.from_numpy, (value, mask, place))
        return values, masks, positions


def _others(slots: Slots, count: int, shift: int) -> np.ndarray:
    """Return for each slot the row of another entity of the same space, from one of the next examples."""
    of_example = [np.flatnonzero(slots.example == n) for n in range(count)]
    rows = slots.row.copy()
    for i in range(len(rows)):
        for step in range(count):
            near = of_example[(slots.example[i] + shift + step) % count]
            fit = near[(slots.space[near] == slots.space[i]) & (slots.row[near] != slots.row[i])]
            if len(fit):
                rows[i] = slots.row[fit[0]]
                break
    return rows


def _before(slots: Slots, mine: np.ndarray, answer: int) -> int:
    """Return the number of leading columns before the first slot and the first supervised position of all rows."""
    places = slots.place[np.isin(slots.example, mine)]
    return min(answer - 1, int(places.min()) if len(places) else answer)


def _common(ids: np.ndarray, most: int) -> int:
    """Return the number of leading tokens that are the same in all rows, at most `most`."""
    same = (ids[:, :most] == ids[:1, :most]).all(0)
    return most if same.all() else int(np.argmin(same))
