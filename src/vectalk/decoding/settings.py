"""`Decoding`: how answers are decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from typing import Any, NamedTuple

import numpy as np

from vectalk.errors import PromptError

NAMES = ("force", "link", "off")


@dataclass(frozen=True)
class Decoding:
    """How answers are decoded.

    Attributes:
        max_new_tokens: longest answer, in tokens.
        temperature: 0 is greedy.
        top_p: sample from the likeliest tokens with this share of the probability mass.
        top_k: sample from this number of likeliest tokens; 0 for all.
        min_p: sample from tokens with at least this share of the probability of the likeliest token; 0 for all.
        repetition_penalty: above 1, tokens that the answer already has become less likely: a positive logit is divided
            by this number, a negative one multiplied. None is `auto`: the default of the run, else no penalty.
        no_repeat_ngram_size: no sequence of this number of tokens appears twice in an answer; 0 for no limit. None is
            `auto`: the default of the run, else no limit.
        beams: beams of beam search; 1 for no beam search.
        seed: seed of the sampling; the random numbers of an answer do not depend on the other answers.
        stop: texts that end an answer; they are not part of it.
        names: `force`: in tasks that name entities, only titles that exist can be written in quotation marks. `link`:
            any title can be written; the answer reports which of them exist. `off`: names are not looked at.
        names_weight: how much the similarity of a title to the vector counts beside the LLM's log-probability, where
            names are forced; 0 is the LLM alone. None is the weight of the run.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    beams: int = 1
    seed: int = 0
    stop: tuple[str, ...] = ()
    names: str = "force"
    names_weight: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        wrong = {
            "max_new_tokens": (self.max_new_tokens, self.max_new_tokens >= 1, "at least 1"),
            "temperature": (self.temperature, 0.0 <= self.temperature <= 10.0, "0 (greedy) to 10"),
            "top_p": (self.top_p, 0.0 < self.top_p <= 1.0, "above 0, at most 1"),
            "top_k": (self.top_k, _is_count(self.top_k), "a whole number: 0 (all tokens) or more"),
            "min_p": (self.min_p, 0.0 <= self.min_p <= 1.0, "0 (all tokens) to 1"),
            "repetition_penalty": (
                self.repetition_penalty,
                self.repetition_penalty is None or 0.0 < self.repetition_penalty < inf,
                "above 0, where 1 is no penalty, or None (auto)",
            ),
            "no_repeat_ngram_size": (
                self.no_repeat_ngram_size,
                self.no_repeat_ngram_size is None or _is_count(self.no_repeat_ngram_size),
                "a whole number: 0 (no limit) or more, or None (auto)",
            ),
            "beams": (self.beams, 1 <= self.beams <= 64, "1 to 64"),
            "seed": (self.seed, self.seed >= 0, "0 or more"),
            "stop": (list(self.stop), all(isinstance(s, str) and s for s in self.stop), "texts that are not empty"),
            "names": (self.names, self.names in NAMES, f"one of {', '.join(NAMES)}"),
            "names_weight": (
                self.names_weight,
                self.names_weight is None or 0.0 <= self.names_weight < inf,
                "0 (the LLM alone) or more, or None (the weight of the run)",
            ),
        }
        for name, (value, right, allowed) in wrong.items():
            if not right:
                raise PromptError(f"{name} is {value}; allowed is {allowed}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Decoding:
        """Return the `Decoding` of a dictionary of settings.

        Raises:
            PromptError: a setting is unknown, or out of its range.
        """
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise PromptError(
                f"unknown setting {unknown[0]!r}; the settings are neighbors, progress, sample, {', '.join(known)}"
            )
        return cls(**settings)

    def resolved(self, defaults: Mapping[str, Any]) -> Decoding:
        """Return the settings with a value in place of each None: that of `defaults`, else the one without effect."""
        values = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, **defaults}
        return replace(self, **{name: value for name, value in values.items() if getattr(self, name) is None})

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0

    @property
    def penalizes(self) -> bool:
        """Whether the tokens of the answer so far change the logits of the next one."""
        return self.repetition_penalty not in (None, 1.0) or bool(self.no_repeat_ngram_size)

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values, for a log."""
        return {**asdict(self), "stop": list(self.stop)}

    def draws(self, number: int, count: int) -> np.ndarray | None:
        """Return the random numbers [count] in [0, 1) that answer `number` is sampled with; None when greedy."""
        return None if self.greedy else np.random.default_rng([self.seed, number]).random(count)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class Generated(NamedTuple):
    """The answer of an engine.

    Attributes:
        text: the answer.
        finished: whether an end token or a stop text ended it.
        ids: its tokens, without the end token.
        replaced: names that were replaced afterwards because they do not exist: (as written, title in the text).
    """

    text: str
    finished: bool
    ids: tuple[int, ...] = ()
    replaced: tuple[tuple[str, str], ...] = ()
