"""What a server remembers of the texts that clients send is bounded; and a read-back that is saved knows its R2."""

from pathlib import Path

import numpy as np
import pytest

from offline import fake_transformers
from vectalk.files import read_json
from vectalk.model import PromptFormat
from vectalk.model.prompt import REMEMBERED
from vectalk.readback import encoder as encoders
from vectalk.talk.candidates import Reranker
from vectalk.tasks import Corpus


def test_an_encoder_remembers_recent_texts_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_transformers(monkeypatch, tmp_path)
    monkeypatch.setattr(encoders, "REMEMBERED", 5)
    encoder = encoders.SentenceEncoder("minilm")
    texts = [f"text {letter * 3}" for letter in "abcdefghij"]
    first = encoder.encode(texts)
    assert list(encoder._known) == texts[-5:]
    assert np.array_equal(encoder.encode(texts[::-1]), first[::-1])
    assert len(encoder._known) == 5


def test_long_questions_are_not_remembered(chat) -> None:
    prompts = PromptFormat(chat, {"island": 3})
    prompts("Describe {island}.", {"island": "island"})
    remembered = prompts._text.cache_info().currsize
    long = "Describe it. " * REMEMBERED
    assert len(prompts(long, {})) == len(prompts.before) + len(prompts._tokenise(long)) + len(prompts.after)
    assert prompts._text.cache_info().currsize == remembered > 0


def test_a_saved_reranker_knows_its_r2(corpus: Corpus, tmp_path: Path) -> None:
    task = next(task for task in corpus.suite.tasks if task.about in task.slots)
    reranker = Reranker.fit(corpus, task, "tfidf", tmp_path)
    (card,) = tmp_path.glob("*/readback.json")
    assert read_json(card)["r2"] == reranker.readback.r2
    assert 0 < reranker.readback.r2 < 1
