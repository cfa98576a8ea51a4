"""`BaseLlm`: the base LLM of a run, which reads words in place of vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from vectalk.decoding.settings import Decoding
from vectalk.errors import VectalkError
from vectalk.evaluation.probes.facts import NotRunError
from vectalk.llm.loading import load_llm
from vectalk.llm.quantisation import is_quantised
from vectalk.model import ElmModel, PromptFormat
from vectalk.model.without_lora import without_lora
from vectalk.space import VectorSpace
from vectalk.talk import ELM
from vectalk.talk.engine import TransformersEngine


class BaseLlm:
    """The base LLM of a run as it was before training; it generates answers like a run, but to questions without slots.

    Args:
        elm: the run. Where the run trained a low-rank update, that update is off while the base LLM works. Where the
            run fine-tuned the LLM fully, the base LLM is loaded again.

    Raises:
        NotRunError: the base LLM of a fully fine-tuned run cannot be loaded.
    """

    def __init__(self, elm: ELM) -> None:
        self.elm = elm
        self.spaces: dict[str, VectorSpace] = {}
        self.same_weights = elm.run.card.llm.trained != "full"
        if self.same_weights:
            self.model, self.prompts = elm.model, elm.prompts
        else:
            self.model, self.prompts = _loaded(elm)
        # An engine of its own: the engine of the run caches keys and values of the trained LLM.
        self.engine = TransformersEngine(self.model, self.prompts)

    @property
    def identity(self) -> str | None:
        """What decides the answers, apart from questions and decoding settings: weights and chat template.

        Runs on the same base LLM share it. None for weights that are packed or come from no file.
        """
        language = self.model.language
        if language.fingerprint is None or is_quantised(language.model):
            return None
        parts = [language.fingerprint, str(language.model.dtype), asdict(self.prompts.frame)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @contextmanager
    def active(self) -> Iterator[ElmModel]:
        """Give the model with the weights of the base LLM; they are in place only inside the block."""
        with without_lora(self.model.llm):
            yield self.model

    def decoding(self, **settings: Any) -> Decoding:
        """Return complete decoding settings, which are those of the run."""
        return self.elm.decoding(**settings)

    def generate(
        self,
        prompts: Sequence[str],
        slots: Sequence[Mapping[str, tuple[str, np.ndarray]]],
        *,
        max_new_tokens: int,
        progress: Callable[[int, int], None],
        **settings: Any,
    ) -> list[str]:
        """Return one answer for each question; `slots` are empty."""
        decoding = self.decoding(max_new_tokens=max_new_tokens, **settings)
        with self.active():
            return [answer.text for answer in self.engine.generate(prompts, slots, decoding, progress)]


def _loaded(elm: ELM) -> tuple[ElmModel, PromptFormat]:
    try:
        name, revision = elm.run.base()
        language = load_llm(name, revision=revision, device=str(elm.model.device))
    except VectalkError as error:
        raise NotRunError(f"the base LLM of the fully fine-tuned run cannot be loaded: {error}") from None
    prompts = PromptFormat(language.tokenizer, {}, elm.prompts.template, elm.prompts.frame)
    return ElmModel(language, {}).eval(), prompts
