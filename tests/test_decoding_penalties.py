"""Penalties and limits of decoding are those of transformers, count the answer alone, and agree in all engines."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from test_engine import asked, make_engine
from vectalk.decoding.loop import Tally
from vectalk.decoding.processing import AnswerPenalties, process
from vectalk.decoding.sampling import choose, truncate
from vectalk.decoding.settings import Decoding
from vectalk.errors import PromptError
from vectalk.space import VectorSpace
from vectalk.talk.vllm_engine import check_decoding, sampling

VOCABULARY = 50
PENALTIES = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3},
    {"no_repeat_ngram_size": 4},
    {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2},
]


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def theirs(settings: dict, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """What transformers' own processors make of logits, in the order of its `generate`."""
    processors = LogitsProcessorList()
    if "repetition_penalty" in settings:
        processors.append(RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    if "no_repeat_ngram_size" in settings:
        processors.append(NoRepeatNGramLogitsProcessor(settings["no_repeat_ngram_size"]))
    return processors(ids, logits.clone())


@pytest.mark.parametrize("settings", PENALTIES)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 30])
def test_penalties_are_those_of_transformers(settings: dict, length: int) -> None:
    logits = 3 * torch.randn(6, VOCABULARY, generator=random(length))
    ids = torch.randint(0, 3, (6, length), generator=random(length + 1))
    before = logits.clone()
    expected = theirs(settings, ids, logits)
    rows = [SimpleNamespace(ids=row, decoding=Decoding(**settings)) for row in ids.tolist()]
    assert torch.equal(process(logits, rows), expected)
    assert torch.equal(AnswerPenalties(Decoding(**settings))(ids, logits), expected)
    assert torch.equal(logits, before)
    assert length < 30 or not torch.equal(expected, logits)


def test_each_row_has_its_own_settings_and_length() -> None:
    logits = torch.randn(len(PENALTIES) + 1, VOCABULARY, generator=random(0))
    lengths = [9, 2, 0, 30, 5, 12, 1]
    rows = [
        SimpleNamespace(
            ids=torch.randint(0, 4, (length,), generator=random(length)).tolist(), decoding=Decoding(**settings)
        )
        for length, settings in zip(lengths, PENALTIES, strict=True)
    ]
    rows.insert(3, SimpleNamespace(ids=[1, 1, 1], decoding=Decoding()))
    processed = process(logits, rows)
    for number, row in enumerate(rows):
        assert torch.equal(processed[number], process(logits[number : number + 1], [row])[0])
        settings = {name: getattr(row.decoding, name) for name in ("repetition_penalty", "no_repeat_ngram_size")}
        told = {name: value for name, value in settings.items() if value is not None}
        expected = theirs(told, torch.tensor([row.ids], dtype=torch.long), logits[number : number + 1])
        assert torch.equal(processed[number], expected[0])


def test_nothing_is_computed_where_no_row_has_a_penalty() -> None:
    logits = torch.randn(2, VOCABULARY)
    rows = [SimpleNamespace(ids=[1], decoding=Decoding(repetition_penalty=1, no_repeat_ngram_size=0))] * 2
    assert process(logits, rows) is logits


# ---- sampling

LIMITS = [
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 500},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"top_p": 0.6},
    {"top_k": 8, "top_p": 0.7},
    {"top_k": 20, "top_p": 0.9, "min_p": 0.1},
    {"top_p": 0.8, "min_p": 0.3},
]


def limited(settings: dict, logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """The probabilities that transformers samples from."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if "top_k" in settings:
        warpers.append(TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        warpers.append(TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        warpers.append(MinPLogitsWarper(settings["min_p"]))
    return warpers(torch.zeros(len(logits), 0, dtype=torch.long), logits.clone()).softmax(-1)


def columns(settings: Sequence[dict]) -> list[torch.Tensor]:
    neutral = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
    return [
        torch.tensor([float({**neutral, **one}[name]) for one in settings], dtype=torch.float64) for name in neutral
    ]


@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_limits_of_sampling_are_those_of_transformers(temperature: float) -> None:
    logits = 2 * torch.randn(len(LIMITS), VOCABULARY, generator=random(1))
    ranked, order = (logits / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    remaining = truncate(ranked, *columns(LIMITS))
    shares = torch.zeros_like(logits).scatter(1, order, remaining / remaining.sum(-1, keepdim=True))
    for number, settings in enumerate(LIMITS):
        expected = limited(settings, logits[number : number + 1], temperature)[0]
        assert torch.equal(shares[number] > 0, expected > 0)
        assert shares[number].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert (shares > 0).sum(-1).unique().numel() > 4


def test_as_likely_as_the_last_of_top_k_stays_like_in_transformers() -> None:
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]])
    ranked = logits.softmax(-1)
    assert (truncate(ranked, *columns([{"top_k": 2}])) > 0).tolist() == [[True, True, True, True, False]]
    assert torch.equal(limited({"top_k": 2}, logits, 1.0) > 0, torch.tensor([[True, True, True, True, False]]))


def test_each_row_is_sampled_within_its_own_limits() -> None:
    count = 2000
    logits = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1])).expand(count, -1)
    draws = (torch.arange(count) + 0.5) / count
    ones = torch.ones(count)

    def shares(**settings: float) -> list[float]:
        top_k, top_p, min_p = (column.expand(count) for column in columns([settings]))
        tokens = choose(logits, ones, top_p, draws, top_k, min_p)
        return (tokens.bincount(minlength=4) / count).tolist()

    assert shares(top_k=2) == pytest.approx([4 / 7, 3 / 7, 0, 0], abs=1e-3)
    assert shares(min_p=0.45) == pytest.approx([4 / 9, 3 / 9, 2 / 9, 0], abs=1e-3)
    # 4/7 of what top_k leaves is already half of it.
    assert shares(top_k=2, top_p=0.5) == [1, 0, 0, 0]
    mixed = choose(logits[:2], torch.tensor([1.0, 0.0]), ones[:2], torch.tensor([0.99, 0.99]), torch.tensor([2.0, 0.0]))
    assert mixed.tolist() == [1, 0]


# ---- engines

GREEDY = [Decoding(max_new_tokens=24, **settings) for settings in PENALTIES]


def test_penalties_are_the_same_in_the_loop_and_in_generate(chat, islands: VectorSpace) -> None:
    engine = make_engine("llama", chat, islands)
    questions, slots = asked(6)
    plain = engine.generate(questions, slots, Decoding(max_new_tokens=24))
    for decoding in GREEDY:
        prompts = [engine.prompt(question, bindings) for question, bindings in zip(questions, slots, strict=True)]
        answers = engine.generate(questions, slots, decoding)
        assert answers == engine._by_length(prompts, slots, decoding, lambda done, total: None)
        assert [answer.ids for answer in answers] != [answer.ids for answer in plain]


def test_sampling_limits_reach_generate(chat, islands: VectorSpace) -> None:
    engine = make_engine("llama", chat, islands)
    questions, slots = asked(3)
    prompts = [engine.prompt(question, bindings) for question, bindings in zip(questions, slots, strict=True)]
    greedy = [answer.ids for answer in engine.generate(questions, slots, Decoding(max_new_tokens=12))]
    for limit in ({"top_k": 1}, {"min_p": 1.0}):
        decoding = Decoding(max_new_tokens=12, temperature=2.0, **limit)
        assert [answer.ids for answer in engine.generate(questions, slots, decoding)] == greedy
        one_by_one = engine._by_length(prompts, slots, decoding, lambda done, total: None)
        assert [answer.ids for answer in one_by_one] == greedy


@pytest.mark.parametrize("beams", [1, 3])
def test_an_ngram_is_never_repeated_and_the_prompt_does_not_count(chat, islands: VectorSpace, beams: int) -> None:
    """The tokens of the question are allowed in the answer: only a repetition inside the answer is banned."""
    engine = make_engine("llama", chat, islands)
    questions, slots = asked(5)
    answers = engine.generate(questions, slots, Decoding(max_new_tokens=40, no_repeat_ngram_size=1, beams=beams))
    asked_about = [set(engine.prompt(q, s).ids) for q, s in zip(questions, slots, strict=True)]
    assert all(len(set(answer.ids)) == len(answer.ids) for answer in answers)
    assert any(set(answer.ids) & ids for answer, ids in zip(answers, asked_about, strict=True))


def test_rows_with_other_settings_in_one_batch_are_answered_as_alone(chat, islands: VectorSpace) -> None:
    engine = make_engine("qwen3", chat, islands, size=16)
    questions, slots = asked(8)
    settings = [
        *GREEDY[:4],
        Decoding(max_new_tokens=20),
        Decoding(max_new_tokens=20, temperature=1.0, top_k=5, seed=3),
        Decoding(max_new_tokens=20, temperature=1.5, min_p=0.2, repetition_penalty=1.2, seed=4),
        Decoding(max_new_tokens=20, temperature=0.9, top_k=9, top_p=0.8, no_repeat_ngram_size=2, seed=5),
    ]
    alone = [engine.generate([q], [s], d)[0] for q, s, d in zip(questions, slots, settings, strict=True)]
    loop, tally = engine.shared_loop, Tally()
    assert loop is not None
    rows = [
        engine._row(engine.prompt(q, s), s, d, 0, tally) for q, s, d in zip(questions, slots, settings, strict=True)
    ]
    loop.submit(rows)
    loop.wait(lambda: tally.done == len(rows))
    assert [engine.generated(row) for row in rows] == alone


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0; allowed is above 0"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1; allowed is a whole number: 0"),
        ({"no_repeat_ngram_size": 2.5}, "no_repeat_ngram_size is 2.5"),
        ({"top_k": -1}, "top_k is -1; allowed is a whole number: 0"),
        ({"top_k": 1.5}, "top_k is 1.5"),
        ({"min_p": 1.5}, "min_p is 1.5; allowed is 0 "),
    ],
)
def test_wrong_values_are_named(settings: dict, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Decoding(**settings)


# ---- vLLM


def test_vllm_gets_what_means_the_same_there() -> None:
    decoding = Decoding(temperature=0.8, top_k=20, min_p=0.1, repetition_penalty=1.0, no_repeat_ngram_size=0)
    check_decoding(decoding)
    sent = sampling(decoding, 0)
    assert (sent["top_k"], sent["min_p"]) == (20, 0.1)
    assert sampling(replace(decoding, top_k=0), 0)["top_k"] == -1
    assert {"top_k", "min_p", "top_p"}.isdisjoint(sampling(Decoding(), 0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repetition_penalty": 1.1}, "count the tokens of the prompt too"),
        ({"no_repeat_ngram_size": 3}, "vLLM has no such setting"),
        ({"temperature": 1.0, "min_p": 0.1, "top_p": 0.9}, "in another order"),
    ],
)
def test_what_vllm_does_otherwise_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        check_decoding(Decoding(**settings))
