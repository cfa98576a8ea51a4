"""Figures of free questions, computed by hand, and the divergence between a model and its base LLM."""

from pathlib import Path

import numpy as np
import peft
import pytest
import torch

from vectalk.evaluation.metrics.bootstrap import estimate, whole
from vectalk.evaluation.metrics.questions import (
    answer_scores,
    by_entity,
    distinct_answers,
    kl_kept,
    question_gaps,
    told_ratio,
    unseen_ratio,
)
from vectalk.evaluation.questions.answer_kl import TaughtAnswer, answer_kl
from vectalk.evaluation.questions.base_llm import BaseLlm
from vectalk.llm.loading import load_llm
from vectalk.model import ElmAdapter, ElmAdapterConfig, ElmModel, PromptFormat, collate
from vectalk.model.run import FrameCard, LlmCard, Run, RunCard, SpaceCard
from vectalk.model.without_lora import without_lora
from vectalk.space import VectorSpace
from vectalk.space.normalizer import Normalizer
from vectalk.talk import ELM
from vectalk.tasks import Suite, Task
from vectalk.tasks.teachers.told import in_words

# ---- ratios by hand

# Two questions about four entities.
ELM_SCORES = np.array([[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])  # mean 0.5
SHUFFLED = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])  # mean 0.125
TOLD = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
TOLD_SHUFFLED = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
SCORES = {"elm": ELM_SCORES, "shuffled": SHUFFLED, "told": TOLD, "told_shuffled": TOLD_SHUFFLED}


def test_answers_are_scored_by_kind() -> None:
    lists = answer_scores("list", [["a"], ["a", "b"], [], ["a"]], [["a", "b"], ["a", "b"], ["a"], None])
    np.testing.assert_allclose(lists, [2 / 3, 1, 0, np.nan])
    np.testing.assert_allclose(
        answer_scores("decade", ["1990s", None, "1980s"], ["1990s", "1990s", "1990s"]), [1, 0, 0]
    )


def test_an_entity_has_the_mean_over_its_questions() -> None:
    np.testing.assert_allclose(by_entity(ELM_SCORES), [1, 0.5, 0, 0.5])
    np.testing.assert_allclose(by_entity(ELM_SCORES, np.array([1])), [1, 0, 0, 0])


def test_the_unseen_ratio_divides_the_gains() -> None:
    trained = {"elm": np.array([[1.0, 1.0, 1.0, 0.0]]), "shuffled": np.array([[0.0, 0.0, 0.0, 0.0]])}
    assert whole(unseen_ratio(SCORES, trained), 4) == pytest.approx((0.5 - 0.125) / 0.75)
    same = {name: SCORES[name] for name in ("elm", "shuffled")}
    assert estimate(4, [unseen_ratio(same, same)]).value == pytest.approx(1.0)


def test_the_told_ratio_uses_the_questions_that_depend_on_the_facts() -> None:
    np.testing.assert_allclose(question_gaps(SCORES), [0.75, 0.0])
    assert whole(told_ratio(SCORES, np.array([0])), 4) == pytest.approx((0.75 - 0.25) / 0.75)
    assert whole(told_ratio(SCORES, np.array([0, 1])), 4) == pytest.approx((0.5 - 0.125) / 0.375)


def test_entities_without_a_value_are_left_out() -> None:
    unknown = {name: np.where(np.arange(4) == 1, np.nan, values) for name, values in SCORES.items()}
    np.testing.assert_allclose(question_gaps(unknown), [1.0, 0.0])
    assert whole(told_ratio(unknown, np.array([0])), 4) == pytest.approx((2 / 3 - 0) / 1)


def test_kept_is_one_minus_a_ratio_of_sums() -> None:
    divergences = np.array([[[1.0, 4.0], [0.0, 4.0]], [[2.0, 4.0], [np.nan, 100.0]]])  # [q, n, right and shuffled]
    assert whole(kl_kept(divergences), 2) == pytest.approx(1 - 3 / 12)


def test_distinct_answers_are_counted_within_a_question() -> None:
    assert distinct_answers([["a", "a", "b", "c"], ["a", "a", "a", "a"]]) == pytest.approx((0.75 + 0.25) / 2)


def test_words_take_the_place_of_a_slot() -> None:
    assert in_words("Is {film} good?", "a 1990s film") == "Is a 1990s film good?"
    assert in_words("Is {film} {{good}}?", "a {b} film") == "Is a {{b}} film {{good}}?"


# ---- divergence

QUESTION, ANSWERS = "{film}", ("salt and honey", "It is rich in timber.", "pearls", "amber, settled in the 1760s")
WORDS = ("salt", "honey", "pearls", "amber", "timber", "silk", "wool", "gold", "iron", "wine", "fish", "rice", "tea")


@pytest.fixture
def model(random_llm: Path, tmp_path: Path) -> tuple[ELM, list[str]]:
    """A model whose vectors become exactly the embeddings of words, and these words."""
    language = load_llm(str(random_llm), device="cpu")
    plain = PromptFormat(language.tokenizer, {})
    lengths = {word: len(plain(word, {})) - len(plain("", {})) for word in WORDS}
    size = max(lengths.values(), key=list(lengths.values()).count)
    words = [word for word in WORDS if lengths[word] == size]
    assert len(words) >= 4
    frame = len(plain.before)
    ids = torch.tensor([plain(word, {}).ids[frame : frame + size] for word in words])
    config = ElmAdapterConfig(
        space="film", vector_dim=len(words), llm_hidden_size=language.hidden_size, soft_tokens=size, kind="linear"
    )
    still = Normalizer(np.zeros(len(words), np.float32), np.ones(len(words), np.float32))
    adapter = ElmAdapter.create(config, still, language.embedding_rms)
    with torch.no_grad():
        adapter.skip.weight.copy_(language.model.get_input_embeddings()(ids).flatten(1).T)
        adapter.skip.bias.zero_()
    space = VectorSpace.create("film", np.eye(len(words), dtype=np.float32), {"id": words, "title": words})
    prompts = PromptFormat(language.tokenizer, {"film": size})
    frames = FrameCard(before=prompts.frame.before, after=prompts.frame.after, end=prompts.frame.end)
    card = RunCard(
        llm=LlmCard(name=str(random_llm), hidden_size=language.hidden_size),
        spaces={"film": SpaceCard(path="x", fingerprint="x", split_hash="x", dim=len(words), soft_tokens=size)},
        template=prompts.template,
        template_hash=prompts.template_hash,
        frame=frames,
        corpus="x",
        versions={},
    )
    run = Run(tmp_path, card)
    task = Task(name="word", about="film", slots={"film": "film"}, prompts=["Say {film}."])
    (tmp_path / "tasks.yaml").write_text(Suite(name="words", tasks=[task]).dump())
    return ELM(run, ElmModel(language, {"film": adapter}).eval(), prompts, {"film": space}), words


def divergences(elm: ELM, words: list[str], *orders: list[int]) -> np.ndarray:
    """KL of each word's answers when the model reads the vectors in these orders: [q, n, orders]."""
    vectors, n = np.eye(len(words), dtype=np.float32), len(words)
    items = [
        TaughtAnswer(
            QUESTION, in_words(QUESTION, words[i]), answer, [{"film": ("film", vectors[o[i]])} for o in orders]
        )
        for answer in ANSWERS
        for i in range(n)
    ]
    return answer_kl(elm.model, elm.prompts, BaseLlm(elm), items).reshape(len(ANSWERS), n, len(orders))


def rolled(words: list[str], by: int) -> list[int]:
    return [(i + by) % len(words) for i in range(len(words))]


def test_a_student_that_reads_vectors_as_the_words_keeps_everything(model: tuple[ELM, list[str]]) -> None:
    elm, words = model
    values = divergences(elm, words, rolled(words, 0), rolled(words, 1))
    assert np.abs(values[..., 0]).max() < 1e-3
    assert values[..., 1].min() > 0.01
    assert whole(kl_kept(values), len(words)) == pytest.approx(1.0, abs=1e-3)


def test_a_student_that_reads_other_vectors_keeps_nothing(model: tuple[ELM, list[str]]) -> None:
    elm, words = model
    values = divergences(elm, words, rolled(words, 1), rolled(words, 2))
    assert abs(whole(kl_kept(values), len(words))) < 0.3
    assert whole(kl_kept(divergences(elm, words, rolled(words, 1), rolled(words, 1))), len(words)) == 0


def test_other_words_diverge_as_the_vectors_that_are_read_as_them(model: tuple[ELM, list[str]]) -> None:
    elm, words = model
    vectors = np.eye(len(words), dtype=np.float32)
    items = [
        TaughtAnswer(
            QUESTION, told, "salt and gold", [{"film": ("film", vectors[other])}], [in_words(QUESTION, words[other])]
        )
        for told in [in_words(QUESTION, words[0])]
        for other in range(3)
    ]
    values = answer_kl(elm.model, elm.prompts, BaseLlm(elm), items)
    assert values.shape == (3, 2)
    np.testing.assert_allclose(values[:, 1], values[:, 0], atol=2e-3)
    assert values[0, 1] < 1e-3
    assert values[1:, 1].min() > 0.01


def test_the_divergence_is_that_of_the_logits(model: tuple[ELM, list[str]]) -> None:
    elm, words = model
    quick = divergences(elm, words, rolled(words, 1))
    elm.model.language.plain_head = False  # as for an LLM whose output is more than one linear layer
    np.testing.assert_allclose(divergences(elm, words, rolled(words, 1)), quick, rtol=1e-3, atol=1e-4)


def test_answers_that_cannot_be_compared_are_left_out(model: tuple[ELM, list[str]]) -> None:
    elm, words = model
    slots = [{"film": ("film", np.eye(len(words), dtype=np.float32)[0])}]
    items = [TaughtAnswer(QUESTION, words[0], answer, slots) for answer in ("", "salt " * 300, "salt")]
    assert np.isfinite(answer_kl(elm.model, elm.prompts, BaseLlm(elm), items)).tolist() == [[False], [False], [True]]


# ---- the base LLM


def add_lora(elm: ELM) -> None:
    """Give the LLM a low-rank update that changes what it says."""
    torch.manual_seed(0)
    peft.get_peft_model(elm.model.llm, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear"))
    for name, parameter in elm.model.llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)


def logits(elm: ELM, words: list[str]) -> torch.Tensor:
    prompt = elm.prompts(words[0], {})
    with torch.no_grad():
        return elm.model.logits(collate([prompt], [{}], {}, elm.prompts.pad_id))


def test_a_low_rank_update_is_off_inside_the_block_alone(model: tuple[ELM, list[str]]) -> None:
    elm, words = model
    before = logits(elm, words)
    with without_lora(elm.model.llm):  # without an update, nothing changes
        torch.testing.assert_close(logits(elm, words), before)
    add_lora(elm)
    elm.model.llm.requires_grad_(False)
    trained = logits(elm, words)
    assert (trained - before).abs().max() > 0.1
    with without_lora(elm.model.llm):
        torch.testing.assert_close(logits(elm, words), before)
    torch.testing.assert_close(logits(elm, words), trained)
    assert not any(parameter.requires_grad for parameter in elm.model.llm.parameters())


def test_the_told_answers_are_those_of_the_base_llm(model: tuple[ELM, list[str]]) -> None:
    elm, words = model
    ask = {"max_new_tokens": 8, "progress": lambda done, total: None}
    before = BaseLlm(elm).generate(words, [{}] * len(words), **ask)
    teacher = divergences(elm, words, rolled(words, 0))
    add_lora(elm)
    assert elm.generate(words, [{}] * len(words), max_new_tokens=8) != before
    base = BaseLlm(elm)
    assert base.generate(words, [{}] * len(words), **ask) == before
    assert divergences(elm, words, rolled(words, 0)).min() > teacher.max() + 0.01  # the student has its update
