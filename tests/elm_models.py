"""Small models with adapters of two spaces, and questions for them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vectalk.llm.loading import LanguageModel
from vectalk.model import Batch, ElmAdapter, ElmAdapterConfig, ElmModel, PromptFormat, collate
from vectalk.model.run import FrameCard, LlmCard, RunCard, SpaceCard
from vectalk.space.normalizer import Normalizer

DIMS = {"island": 16, "user": 5}
SOFT = {"island": 3, "user": 2}
# Lengths differ, one row has two slots of one space, one has slots of two spaces.
QUESTIONS: list[tuple[str, dict[str, str], str]] = [
    ("Describe {island}.", {"island": "island"}, "An island of salt and honey, settled in the 1760s."),
    ("What do {a} and {b} have in common?", {"a": "island", "b": "island"}, "They share salt."),
    ("Tell me all there is to tell about {island}, for {user}.", {"island": "island", "user": "user"}, "Go."),
    ("Who is {user}?", {"user": "user"}, "Someone who wants pearls, amber and timber above all."),
]


def vectors_for(questions, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        {slot: rng.standard_normal(DIMS[space]).astype(np.float32) for slot, space in spaces.items()}
        for _, spaces, _ in questions
    ]


def make_model(language: LanguageModel, soft: Mapping[str, int] = SOFT, kind: str = "mlp") -> ElmModel:
    adapters = {}
    for seed, (name, dim) in enumerate(DIMS.items()):
        config = ElmAdapterConfig(
            space=name,
            vector_dim=dim,
            llm_hidden_size=language.hidden_size,
            soft_tokens=soft[name],
            kind=kind,
            width=24,
        )
        normalizer = Normalizer(np.full(dim, 0.1, np.float32), np.full(dim, 0.9, np.float32))
        # Louder than at the start of training, so that an answer depends on its vector.
        adapters[name] = ElmAdapter.create(config, normalizer, 3 * language.embedding_rms, seed)
    return ElmModel(language, adapters).eval()


def batch_of(model: ElmModel, numbers=range(4), side="right", target=True, vectors=None) -> Batch:
    prompts = PromptFormat(model.language.tokenizer, SOFT)
    vectors = vectors or vectors_for(QUESTIONS)
    made = [prompts(q, spaces, answer if target else None) for q, spaces, answer in (QUESTIONS[n] for n in numbers)]
    return collate(made, [vectors[n] for n in numbers], DIMS, prompts.pad_id, side)


def card_for(model: ElmModel, prompts: PromptFormat, base: Path, trained: str) -> RunCard:
    """Return the card of a run on a model of this file, whose spaces are nowhere."""
    return RunCard(
        llm=LlmCard(name=str(base), trained=trained, hidden_size=model.language.hidden_size),
        spaces={
            n: SpaceCard(path="x", fingerprint="x", split_hash="x", dim=DIMS[n], soft_tokens=SOFT[n]) for n in DIMS
        },
        template=prompts.template,
        template_hash=prompts.template_hash,
        frame=FrameCard(**dataclasses.asdict(prompts.frame)),
        corpus="x",
        versions={},
    )
