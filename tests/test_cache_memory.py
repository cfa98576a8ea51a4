"""Keys and values are held while they serve: what a large job took is given back when it is over."""

import gc

import numpy as np
import pytest
import torch

from test_engine import LONG, QUESTIONS, asked, make_engine
from vectalk.decoding import decoder
from vectalk.decoding.loop import Tally
from vectalk.decoding.settings import Decoding
from vectalk.space import VectorSpace
from vectalk.talk.engine import TransformersEngine


def held(engine: TransformersEngine) -> int:
    """Bytes of all living tensors of four dimensions, but for what prompts begin with: each storage once."""
    gc.collect()
    prefixes = [tensor for layers in engine.decoder._prefixes.values() for pair in layers for tensor in pair]
    known = {tensor.untyped_storage().data_ptr() for tensor in prefixes}
    storages = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.dim() == 4:
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(size for place, size in storages.items() if place not in known)


@pytest.fixture
def engine(chat, islands: VectorSpace) -> TransformersEngine:
    """An engine that has answered one question."""
    engine = make_engine("llama", chat, islands, size=64)
    engine.generate(*(given[:1] for given in asked(1)), Decoding(max_new_tokens=2))
    return engine


def row_bytes(engine: TransformersEngine, columns: int) -> int:
    """Bytes of one row's keys and values."""
    config = engine.model.llm.config
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * columns * 4


def test_a_bulk_job_leaves_nothing(engine: TransformersEngine) -> None:
    before, seen = held(engine), []
    questions, slots = asked(64)
    engine.batch_size = 16
    expected = engine.generate(questions, slots, LONG, lambda done, total: seen.append(held(engine)))
    assert max(seen) > before + 16 * row_bytes(engine, 64)
    assert held(engine) <= before
    engine.batch_size = 64
    engine.generate(questions, slots, LONG)
    assert held(engine) <= before
    assert engine.generate(questions, slots, LONG) == expected


def test_what_is_given_up_leaves_nothing(engine: TransformersEngine) -> None:
    before = held(engine)
    questions, slots = asked(1)
    stream = engine.stream(questions[0], slots[0], LONG)
    next(stream)
    assert held(engine) > before
    stream.close()
    assert held(engine) <= before


def test_rows_that_stay_do_not_hold_the_memory_of_those_that_left(engine: TransformersEngine) -> None:
    """A conversation that goes on beside a large job keeps buffers of its own size."""
    loop = engine.shared_loop
    assert loop is not None
    before = held(engine)
    questions, slots = asked(64)
    pairs = list(zip(questions, slots, strict=True))
    short, long = Decoding(max_new_tokens=3), Decoding(max_new_tokens=40)
    bulk = [engine._row(engine.prompt(q, s), s, short, n, Tally()) for n, (q, s) in enumerate(pairs)]
    one = engine._row(engine.prompt(*pairs[0]), pairs[0][1], long, 0, Tally())
    (alone,) = engine.generate(questions[:1], slots[:1], long)
    loop.submit([one, *bulk])
    loop.wait(lambda: any(row.ids for row in bulk))
    most = held(engine) - before
    assert most > 16 * row_bytes(engine, 64)
    loop.wait(lambda: all(row.done for row in bulk) and len(one.ids) >= 12)
    assert not one.done
    assert held(engine) - before <= 4 * row_bytes(engine, 2 * (len(one.prompt) + 64))
    loop.wait(lambda: one.done)
    assert tuple(one.ids) == alone.ids
    assert held(engine) <= before


def test_what_prompts_begin_with_is_kept_up_to_a_number_of_tokens(
    chat, islands: VectorSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "PREFIX_TOKENS", 60)
    engine = make_engine("llama", chat, islands)
    slot = {"island": ("island", np.ones(16, np.float32))}
    for count in range(8):
        question = "Well, " * (5 * count) + QUESTIONS[0]
        engine.generate([question], [slot], Decoding(max_new_tokens=1))
        prefixes = engine.decoder._prefixes
        assert len(prefixes) == 1 or sum(map(len, prefixes)) <= 60
        assert list(prefixes)[-1] == engine.prompt(question, slot).ids[: len(list(prefixes)[-1])]
