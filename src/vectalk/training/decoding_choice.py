"""Choose the default decoding settings of a run: compare a few candidates on validation examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vectalk.decoding.decoder import Decoder
from vectalk.decoding.loop import DecodeLoop, Row, Tally
from vectalk.decoding.repetition import loops
from vectalk.decoding.settings import Decoding
from vectalk.model import ElmModel
from vectalk.model.prompt import IGNORED, Prompt
from vectalk.space.letters import words_in
from vectalk.training.data import Examples

# From the mildest on: of two candidates that are equally good, the earlier one is chosen.
CANDIDATES: tuple[Mapping[str, Any], ...] = (
    {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0},
    {"repetition_penalty": 1.0, "no_repeat_ngram_size": 6},
    {"repetition_penalty": 1.0, "no_repeat_ngram_size": 4},
    {"repetition_penalty": 1.1, "no_repeat_ngram_size": 0},
    {"repetition_penalty": 1.2, "no_repeat_ngram_size": 0},
)
EXAMPLES, BATCH, LONGEST = 64, 32, 128  # questions; rows decoded in one step; tokens of an answer
TOLERANCE = 0.02  # shares of looping answers that differ by no more than this count as equal: one answer in 64


@dataclass(frozen=True)
class Trial:
    """A candidate with its figures on the validation examples.

    Attributes:
        settings: the decoding settings.
        loops: share of the answers that loop.
        f1: mean F1 of the words of an answer, compared with those of its target.
    """

    settings: Mapping[str, Any]
    loops: float
    f1: float

    def plain(self) -> dict[str, Any]:
        """Return the settings and the figures, for JSON."""
        return {**self.settings, "loops": round(self.loops, 4), "f1": round(self.f1, 4)}


def try_candidates(
    model: ElmModel,
    examples: Examples,
    numbers: np.ndarray,
    candidates: Sequence[Mapping[str, Any]] = CANDIDATES,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Trial]:
    """Answer validation questions greedily with each candidate, and return the figures of each.

    Args:
        model: adapters and an LLM that the decoding loop supports (see `can_decode`).
        examples: validation examples.
        numbers: examples to choose from, in this order; the first 64 are used.
        candidates: decoding settings.
        progress: called with the number of finished answers and the total.
    """
    model.eval()
    numbers = numbers[:EXAMPLES]
    tokenizer = examples.prompts.tokenizer
    targets = [str(tokenizer.decode(list(ids))) for ids in examples.target_ids(numbers)]
    tally = Tally()
    rows = [_row(model, examples, int(n), Decoding(LONGEST, **one), tally) for one in candidates for n in numbers]
    loop = DecodeLoop(Decoder(model, examples.prompts.pad_id), examples.prompts.stop_ids, BATCH)
    loop.submit(sorted(rows, key=lambda row: -len(row.prompt)))
    done = 0
    while done < len(rows):
        target = min(done + BATCH, len(rows))
        loop.wait(lambda target=target: tally.done >= target)  # type: ignore[misc]
        if tally.error is not None:
            raise tally.error
        progress(done := tally.done, len(rows))
    texts = [str(tokenizer.decode(row.ids, skip_special_tokens=True)).strip() for row in rows]
    trials = []
    for place, settings in enumerate(candidates):
        answers = texts[place * len(numbers) : (place + 1) * len(numbers)]
        scores = [word_f1(answer, target) for answer, target in zip(answers, targets, strict=True)]
        trials.append(Trial(settings, float(np.mean([loops(text) for text in answers])), float(np.mean(scores))))
    return trials


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the highest F1 among those with the fewest looping answers (up to `TOLERANCE`)."""
    fewest = min(trial.loops for trial in trials)
    return max((trial for trial in trials if trial.loops <= fewest + TOLERANCE), key=lambda trial: trial.f1)


def word_f1(answer: str, target: str) -> float:
    """Return the F1 of the words of an answer, compared with those of a target; 1 if both have none."""
    words, expected = Counter(words_in(answer.casefold())), Counter(words_in(target.casefold()))
    common, total = (words & expected).total(), words.total() + expected.total()
    return 2 * common / total if total else 1.0


def _row(model: ElmModel, examples: Examples, number: int, decoding: Decoding, tally: Tally) -> Row:
    """Return the question of an example as a row of the decoding loop."""
    prompt, slots = examples.prompt(number)
    length = prompt.labels.index(next(label for label in prompt.labels if label != IGNORED))
    question = Prompt(prompt.ids[:length], prompt.slots, prompt.labels[:length])
    vectors = {
        slot: np.asarray(examples.spaces[space].vectors[row], np.float32) for slot, (space, row) in slots.items()
    }
    limit = min(decoding.max_new_tokens, (model.language.context or 1 << 30) - length)
    return Row(question, vectors, decoding, limit, tally)
