"""Examples and batches of them, made of flat arrays in a fraction of a millisecond each."""

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
        spaces: spaces by name.
        prompts: makes prompts of questions.
        context: longest prompt with its answer that the LLM takes, in tokens.
        noise: standard deviation of the noise on vectors, in units of the space's scale.

    Attributes:
        lengths: [N] tokens of each example.
    """

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
        """Return the numbers of the examples of some tasks; of all when None."""
        if tasks is None:
            return np.arange(len(self))
        wanted = [i for i, name in enumerate(self.tokens.tasks) if name in tasks]
        return np.flatnonzero(np.isin(self.tokens.arrays["tasks"], wanted))

    def task(self, number: int) -> str:
        """Return the task of an example."""
        return self.tokens.tasks[int(self.tokens.arrays["tasks"][number])]

    def target_ids(self, numbers: np.ndarray) -> list[tuple[int, ...]]:
        """Return the tokens of some targets, without what ends an answer."""
        tokens, end = self.tokens, len(self.prompts.end)
        starts = tokens.starts[numbers] + tokens.answers[numbers]
        stops = tokens.starts[np.asarray(numbers) + 1] - end
        return [tuple(tokens.ids[a:b].tolist()) for a, b in zip(starts, stops, strict=True)]

    def check_longest(self, split: str = "training") -> None:
        """Refuse examples that do not fit into the LLM's context, before training and not during it."""
        number = int(np.argmax(self.lengths)) if len(self) else 0
        if self.context is not None and len(self) and self.lengths[number] > self.context:
            many = int((self.lengths > self.context).sum())
            slots = self.prompt(number)[1].items()
            about = ", ".join(f"{slot} = {self.spaces[space].title(row)}" for slot, (space, row) in slots)
            raise TrainingError(
                f"{split} example {number} (task {self.task(number)!r}, {about}) is {self.lengths[number]} tokens "
                f"long, the LLM takes {self.context} ({many} such examples): shorten its target, or take an LLM with a "
                "longer context"
            )

    def prompt(self, number: int) -> tuple[Prompt, dict[str, tuple[str, int]]]:
        """Return one example's prompt, labels included, and its slots (space, row)."""
        tokens, slots = self.tokens, self.tokens.slots(np.array([number]))
        rows = {
            tokens.names[name]: (tokens.spaces[space], int(row))
            for name, space, row in zip(slots.name, slots.space, slots.row, strict=True)
        }
        return tokens.prompt(number, self.prompts.soft_tokens), rows

    def supervised(self, numbers: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Return how many tokens some examples have to learn, or the sum of their weights [V]."""
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
            part: take every n-th example only, from the first number on: `(rank, processes)`. Noise is the same
                whatever the parts. A part without examples holds one that is not learned.
            shuffle: give each example the vectors of the one so many places further, as a control.
            noise_seed: seed of the noise on vectors; none is added without it.
        """
        mine = np.arange(*part[:1], len(numbers), part[1])
        silent = len(mine) == 0
        mine = mine if len(mine) else np.zeros(1, np.int64)
        slots = self.tokens.slots(numbers)
        rows = slots.row if shuffle is None else _others(slots, len(numbers), shuffle)
        vectors = self._vectors(slots, rows, noise_seed)
        chosen = numbers[mine]
        lengths, answers = self.lengths[chosen].astype(np.int64), self.tokens.answers[chosen].astype(np.int64)
        shape = (len(chosen), int(lengths.max()))
        example = np.repeat(np.arange(len(chosen)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        at = (example, within)
        ids = np.full(shape, self.prompts.pad_id, np.int64)
        mask, labels = np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64)
        words = self.tokens.words(chosen)
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
            shared=_common(ids, before) if len(chosen) > 1 else 0,
            before=before,
        )

    def _vectors(self, slots: Slots, rows: np.ndarray, noise_seed: Sequence[int] | None) -> dict[int, np.ndarray]:
        """Return for each space [M, D], filled where the slot is of that space."""
        found = {}
        rng = None if noise_seed is None or self.noise == 0 else np.random.default_rng(noise_seed)
        for number, name in enumerate(self.tokens.spaces):
            space, of_space = self.spaces[name], slots.space == number
            if not of_space.any():
                continue
            values = np.zeros((len(rows), space.dim), np.float32)
            values[of_space] = space.vectors[rows[of_space]]
            if not np.isfinite(values).all():
                bad = int(rows[np.argmin(np.isfinite(values).all(1))])
                raise PromptError(f"space {name!r}: the vector of row {bad} holds NaN or infinity")
            if rng is not None:
                noise = rng.standard_normal((int(of_space.sum()), space.dim), np.float32)
                values[of_space] += self.noise * space.normalizer.scale * noise
            found[number] = values
        return found

    def _placed(
        self, slots: Slots, vectors: Mapping[int, np.ndarray], mine: np.ndarray
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return vectors, their mask and positions by space, as rows of the batch hold them."""
        values, masks, positions = {}, {}, {}
        number = np.full(int(slots.example.max(initial=0)) + 1, -1)
        number[mine[mine < len(number)]] = np.arange(len(mine))[mine < len(number)]
        for space, given in vectors.items():
            chosen = np.flatnonzero((slots.space == space) & (number[slots.example] >= 0))
            if not len(chosen):
                continue
            row = number[slots.example[chosen]]
            order = np.argsort(row, kind="stable")
            chosen, row = chosen[order], row[order]
            counts = np.bincount(row, minlength=len(mine))
            k = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
            shape = (len(mine), int(counts.max()))
            value, mask, place = (
                np.zeros((*shape, given.shape[1]), np.float32),
                np.zeros(shape, bool),
                np.zeros(shape, np.int64),
            )
            value[row, k], mask[row, k], place[row, k] = given[chosen], True, slots.place[chosen]
            name = self.tokens.spaces[space]
            values[name], masks[name], positions[name] = map(torch.from_numpy, (value, mask, place))
        return values, masks, positions


def _others(slots: Slots, count: int, shift: int) -> np.ndarray:
    """Return for each slot the row of another entity of its space, from the examples that follow."""
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
    """Return how many leading columns have no slot in any row, nor the first token whose next one is learned."""
    places = slots.place[np.isin(slots.example, mine)]
    return min(answer - 1, int(places.min()) if len(places) else answer)


def _common(ids: np.ndarray, most: int) -> int:
    """Return how many leading tokens all rows have in common, at most `most`."""
    same = (ids[:, :most] == ids[:1, :most]).all(0)
    return most if same.all() else int(np.argmin(same))
