"""A draw near 1 takes the word that it stands for, and no draw takes a word of probability zero."""

import numpy as np
import pytest
import torch

from test_engine import asked, make_engine
from vectalk.decoding.sampling import choose
from vectalk.decoding.settings import Decoding
from vectalk.space import VectorSpace

NEAR = 1 - 2.0**-26  # 1 in float32
LAST = 1 - 2.0**-53  # the largest draw that a generator of float64 gives


@pytest.mark.parametrize("top_p", [1.0, 0.999])
@pytest.mark.parametrize("draw", [NEAR, LAST])
def test_no_draw_takes_a_word_that_cannot_be(draw: float, top_p: float) -> None:
    never = float("-inf")
    logits = torch.tensor([[1.0, 2.0, 1.5, never, never], [never, 0.0, never, never, never]])
    settings = (torch.ones(2), torch.full((2,), top_p))
    tokens = choose(logits, *settings, torch.full((2,), draw, dtype=torch.float64))
    assert tokens.tolist() == [2 if top_p == 1 else 0, 1]
    # The same where a device knows float32 alone.
    assert choose(logits, *settings, torch.ones(2)).tolist() == tokens.tolist()


def test_a_draw_near_one_takes_the_word_at_its_place() -> None:
    logits = torch.tensor([0.7, 0.2, 0.1 - 1e-7, 1e-7, 1e-12]).log()[None]
    rows = {0.69: 0, 0.8: 1, 0.95: 2, 1 - 5e-8: 3, NEAR: 3, 1 - 1e-13: 4}
    draws = torch.tensor(list(rows), dtype=torch.float64)
    tokens = choose(logits.expand(len(rows), -1), torch.ones(len(rows)), torch.ones(len(rows)), draws)
    assert tokens.tolist() == list(rows.values())


def test_rounding_over_a_large_vocabulary_does_not_reach_the_last_word() -> None:
    logits = torch.randn(4, 50_000, generator=torch.Generator().manual_seed(0))
    logits[:, -100:] = float("-inf")
    draws = torch.tensor([NEAR, LAST, LAST, LAST], dtype=torch.float64)
    assert (choose(logits, torch.ones(4), torch.tensor([1.0, 1.0, 0.9, 0.5]), draws.float()) < 49_900).all()


def test_the_engine_never_writes_a_word_that_is_all_but_impossible(
    tokenizer, islands: VectorSpace, monkeypatch
) -> None:
    engine = make_engine("phi", tokenizer, islands)
    last = len(tokenizer) - 1
    with torch.no_grad():
        engine.model.llm.get_output_embeddings().bias[last] = -30.0
    monkeypatch.setattr(Decoding, "draws", lambda self, number, count: np.full(count, NEAR))
    questions, slots = asked(5)
    answers = engine.generate(questions, slots, Decoding(max_new_tokens=6, temperature=1.0))
    assert sum(len(answer.ids) for answer in answers) > 5
    assert all(last not in answer.ids for answer in answers)
