"""The engine decodes many at once what `generate` decodes one by one, for every family of models."""

import threading
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from vectalk.decoding.decoder import SHARE_FROM, can_decode, common_prefix
from vectalk.decoding.loop import Tally
from vectalk.decoding.sampling import choose
from vectalk.decoding.settings import Decoding, Generated
from vectalk.decoding.text_stream import TextStream
from vectalk.errors import PromptError
from vectalk.llm.loading import wrap
from vectalk.model import ElmAdapter, ElmAdapterConfig, ElmModel, PromptFormat, collate
from vectalk.space import VectorSpace
from vectalk.talk.engine import TransformersEngine
from worlds import EACH_FAMILY, make_llm

QUESTIONS = [
    "Describe {island}.",
    "What do {a} and {b} have in common?",
    "Who should visit {island}, and who should rather stay at home, all things considered?",
    "Describe an island.",
    "{island}",
]
LONG = Decoding(max_new_tokens=24)


def make_model(family: str, tokenizer, islands: VectorSpace, **options) -> ElmModel:
    llm = make_llm(family, len(tokenizer), **options)
    language = wrap(llm, tokenizer, family)
    config = ElmAdapterConfig(vector_dim=16, llm_hidden_size=language.hidden_size, soft_tokens=3, width=16)
    adapter = ElmAdapter.create(config, islands.normalizer, language.embedding_rms)
    return ElmModel(language, {"island": adapter}).eval()


class Ending(PromptFormat):
    """Ends answers at more tokens than one, so that answers of random models differ in length."""

    ends: tuple[int, ...] = (1,)

    @property
    def stop_ids(self) -> list[int]:
        return list(self.ends)


def make_engine(family: str, tokenizer, islands: VectorSpace, size: int = 4, **options) -> TransformersEngine:
    model = make_model(family, tokenizer, islands, **options)
    return TransformersEngine(model, Ending(tokenizer, {"island": 3}), size)


def asked(count: int, seed: int = 0) -> tuple[list[str], list[dict]]:
    """Questions of all lengths, with random vectors in their slots."""
    rng = np.random.default_rng(seed)
    names = [("island",), ("a", "b"), ("island",), (), ("island",)]
    questions = [QUESTIONS[n % len(QUESTIONS)] for n in range(count)]
    slots = [
        {name: ("island", rng.standard_normal(16).astype(np.float32)) for name in names[n % len(QUESTIONS)]}
        for n in range(count)
    ]
    return questions, slots


@torch.no_grad()
def one_by_one(engine: TransformersEngine, questions: Sequence[str], slots: Sequence[dict], limit: int) -> list[list]:
    """Ids by transformers' `generate`, one prompt at a time, without the end token."""
    made = []
    for question, given in zip(questions, slots, strict=True):
        vectors = {slot: vector for slot, (_, vector) in given.items()}
        batch = collate([engine.prompt(question, given)], [vectors], engine.dims, engine.prompts.pad_id)
        settings = GenerationConfig(
            max_new_tokens=limit, do_sample=False, eos_token_id=engine.prompts.stop_ids, pad_token_id=0
        )
        ids = engine.model.generate(batch, generation_config=settings)[0].tolist()
        made.append([token for token in ids if token not in engine.prompts.stop_ids])
    return made


@pytest.mark.parametrize("family", [*EACH_FAMILY, "mamba"])
def test_many_at_once_say_what_each_says_alone(family: str, chat, islands: VectorSpace) -> None:
    engine = make_engine(family, chat, islands)
    assert can_decode(engine.model) == (family != "mamba")
    questions, slots = asked(13)
    whole = one_by_one(engine, questions, slots, 24)
    # What few of them say ends an answer from now on: rows leave, and others take their places.
    said = Counter(token for ids in whole for token in set(ids))
    ends = [token for token, count in said.items() if count < 4][:4]
    engine = make_engine(family, chat, islands)
    engine.prompts.ends = (1, *ends)  # type: ignore[attr-defined]
    engine = TransformersEngine(engine.model, engine.prompts, 4)
    together = engine.generate(questions, slots, LONG)
    assert [list(made.ids) for made in together] == [list(takewhile(lambda t: t not in ends, ids)) for ids in whole]
    if family != "mamba":  # which, so small and random, says the same of everything
        assert len({made.ids for made in together}) > 2
        assert {made.finished for made in together} == {True, False}


def test_more_tokens_than_a_sliding_window_are_kept(chat, islands: VectorSpace) -> None:
    engine = make_engine("mistral", chat, islands, sliding_window=6)
    assert can_decode(engine.model)
    questions, slots = asked(6)
    together = engine.generate(questions, slots, Decoding(max_new_tokens=60))
    assert [list(made.ids) for made in together] == one_by_one(engine, questions, slots, 60)


def test_the_longest_answer_is_what_the_context_allows(chat, islands: VectorSpace) -> None:
    engine = make_engine("opt", chat, islands, max_position_embeddings=96)
    questions, slots = asked(5)
    made = engine.generate(questions, slots, Decoding(max_new_tokens=500))
    lengths = [len(engine.prompt(q, s)) for q, s in zip(questions, slots, strict=True)]
    assert all(len(m.ids) + n == 96 for m, n in zip(made, lengths, strict=True) if not m.finished)
    assert not all(m.finished for m in made)


# ---- what is shared


def test_what_prompts_begin_with_is_read_once(chat, islands: VectorSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine("llama", chat, islands)
    prompts = [engine.prompt(QUESTIONS[0], {"island": ("island", np.zeros(16))}) for _ in range(3)]
    prefix = common_prefix(prompts)
    assert SHARE_FROM <= len(prefix) <= prompts[0].slots[0].start
    assert common_prefix(prompts[:1]) == prompts[0].ids[: prompts[0].slots[0].start]
    questions, slots = asked(8)
    can_decode(engine.model)
    lengths: list[int] = []
    base, forward = engine.model.llm.base_model, engine.model.llm.base_model.forward

    def counted(*given, **inputs):
        words = inputs.get("input_ids") if inputs.get("inputs_embeds") is None else inputs["inputs_embeds"]
        lengths.append(words.shape[1])
        return forward(*given, **inputs)

    engine.generate(questions[:1], slots[:1], Decoding(max_new_tokens=1))
    monkeypatch.setattr(base, "forward", counted)
    engine.generate(questions[:1], slots[1:2] and slots[5:6], Decoding(max_new_tokens=1))
    assert lengths == [len(prompts[0]) - prompts[0].slots[0].start]


# ---- sampling


def test_a_sample_is_what_its_distribution_says() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4000, -1)
    draws = (torch.arange(4000) + 0.5) / 4000

    def shares(temperature: float, top_p: float) -> list[float]:
        tokens = choose(logits, torch.full((4000,), temperature), torch.full((4000,), top_p), draws)
        return (tokens.bincount(minlength=4) / 4000).tolist()

    assert shares(1.0, 1.0) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=1e-3)
    assert shares(1.0, 0.7) == pytest.approx([0.625, 0.375, 0, 0], abs=1e-3)
    assert shares(0.0, 1.0) == [1, 0, 0, 0]
    flat = np.array([0.5, 0.3, 0.15, 0.05]) ** 0.5
    assert shares(2.0, 1.0) == pytest.approx((flat / flat.sum()).tolist(), abs=1e-3)


def test_a_sample_does_not_depend_on_its_neighbours(chat, islands: VectorSpace) -> None:
    engine = make_engine("llama", chat, islands)
    questions, slots = asked(9)
    decoding = Decoding(max_new_tokens=12, temperature=1.0, seed=5)
    together = engine.generate(questions, slots, decoding)
    engine.batch_size = 64
    assert engine.generate(questions, slots, decoding) == together
    assert engine.generate(questions[:1], slots[:1], decoding) == together[:1]
    twice = engine.generate(questions[:1] * 8, slots[:1] * 8, decoding)
    assert len({made.text for made in twice}) > 4
    assert engine.generate(questions, slots, Decoding(max_new_tokens=12, temperature=1.0, seed=6)) != together


# ---- stopping and streaming


def test_a_stop_text_ends_an_answer_and_is_not_part_of_it(chat, islands: VectorSpace) -> None:
    engine = make_engine("llama", chat, islands)
    questions, slots = asked(5)
    whole = engine.generate(questions, slots, LONG)
    for question, given, made in zip(questions, slots, whole, strict=True):
        stop = made.text[6:9] or made.text[:1]
        decoding = Decoding(max_new_tokens=24, stop=(stop, "never said"))
        (cut,) = engine.generate([question], [given], decoding)
        assert cut.text == made.text.partition(stop)[0].strip()
        assert cut.finished
        assert len(cut.ids) <= len(made.ids)
        stream, pieces = engine.stream(question, given, decoding), []
        last = read(stream, pieces)
        assert "".join(pieces).strip() == cut.text
        assert last == cut


def read(stream, pieces: list[str]) -> Generated:
    """Read a stream to its end; returns what it returns."""
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return end.value


def test_torn_characters_are_held_back(tokenizer) -> None:
    text = "Ærø, Łódź and 東京 – naïve"
    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in tokenizer(text).input_ids]
    assert "".join(pieces) + stream.end() == text
    assert "" in pieces
    assert not any("�" in piece for piece in pieces)


# ---- many threads


def test_threads_share_the_batch_and_get_their_own(chat, islands: VectorSpace) -> None:
    engine = make_engine("llama", chat, islands)
    questions, slots = asked(30)
    expected = engine.generate(questions, slots, LONG)
    engine.batch_size, found = 3, {}

    def ask(part: int) -> None:
        if part % 2:
            found[part] = engine.generate(questions[part::5], slots[part::5], LONG)
        else:
            found[part] = [
                read(engine.stream(q, s, LONG), []) for q, s in zip(questions[part::5], slots[part::5], strict=True)
            ]

    threads = [threading.Thread(target=ask, args=(part,)) for part in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {part: expected[part::5] for part in range(5)}


def test_a_short_question_overtakes_a_long_job(chat, islands: VectorSpace) -> None:
    """With every place taken, the first token of a lone question comes within two steps."""
    engine = make_engine("llama", chat, islands, size=2)
    questions, slots = asked(12)
    loop = engine.shared_loop
    assert loop is not None
    pairs = enumerate(zip(questions, slots, strict=True))
    rows = [engine._row(engine.prompt(q, s), s, LONG, n, Tally()) for n, (q, s) in pairs]
    loop.submit(rows)
    loop._step()
    row = engine._row(engine.prompt(questions[0], slots[0]), slots[0], LONG, 0, Tally(), streamed=True)
    loop.submit([row], urgent=True)
    loop._step()
    assert len(row.ids) == 1 or row.done
    assert not rows[-1].ids
    loop.wait(lambda: all(r.done for r in rows))
    assert row.done


def test_an_error_hits_those_in_work_and_the_next_are_answered(chat, islands: VectorSpace, monkeypatch) -> None:
    engine = make_engine("llama", chat, islands)
    questions, slots = asked(6)
    expected = engine.generate(questions, slots, LONG)
    step = engine.decoder.step

    def broken(tokens):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine.decoder, "step", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.generate(questions, slots, LONG)
    monkeypatch.setattr(engine.decoder, "step", step)
    assert engine.generate(questions, slots, LONG) == expected


def test_a_wrong_vector_harms_only_the_one_who_asked(chat, islands: VectorSpace) -> None:
    engine = make_engine("llama", chat, islands)
    with pytest.raises(PromptError, match="NaN or infinity"):
        engine.generate([QUESTIONS[0]], [{"island": ("island", np.full(16, np.nan))}], LONG)
    with pytest.raises(PromptError, match="16 dimensions"):
        next(engine.stream(QUESTIONS[0], {"island": ("island", np.zeros(5))}, LONG))


@pytest.mark.parametrize("stop", ["", [""], [3]])
def test_wrong_stops_are_named(stop) -> None:
    with pytest.raises(PromptError, match=r"stop is \["):
        Decoding(stop=stop if isinstance(stop, str) else tuple(stop))
