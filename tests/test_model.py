"""The model: a batch is its rows, vectors stay with their rows, and what is saved is what is loaded."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from elm_models import DIMS, QUESTIONS, SOFT, batch_of, make_model, vectors_for
from vectalk.errors import PromptError
from vectalk.llm.loading import load_llm, wrap
from vectalk.model import ElmAdapter, ElmAdapterConfig, ElmModel, PromptFormat, collate
from vectalk.model.adapter import KINDS
from vectalk.model.prompt import IGNORED
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus
from worlds import FAMILIES, make_llm, save_llm


@pytest.fixture(scope="module", params=list(FAMILIES))
def model(request: pytest.FixtureRequest, tokenizer) -> ElmModel:
    return make_model(wrap(make_llm(request.param, len(tokenizer)), tokenizer, request.param))


@pytest.fixture(scope="module")
def llama(tokenizer) -> ElmModel:
    return make_model(wrap(make_llm("llama", len(tokenizer)), tokenizer, "llama"))


def continued(model: ElmModel, numbers, seed: int = 0, **settings) -> list[list[int]]:
    batch = batch_of(model, numbers, "left", target=False, vectors=vectors_for(QUESTIONS, seed))
    # Nothing ends early, so every row has the same length.
    config = GenerationConfig(max_new_tokens=12, min_new_tokens=12, pad_token_id=0, **settings)
    return model.generate(batch, generation_config=config).tolist()


# ---- a batch is its rows


def test_the_llm_is_accepted_and_its_head_known(model: ElmModel) -> None:
    assert model.language.plain_head
    assert model.language.hidden_size == 32
    assert model.language.context == 256


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_of_a_batch_are_those_of_its_rows(model: ElmModel, side: str) -> None:
    together = batch_of(model, side=side)
    logits = model.logits(together)
    for b in range(4):
        alone = model.logits(batch_of(model, [b]))[0]
        row = logits[b][together.attention_mask[b].bool()]
        torch.testing.assert_close(row, alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_loss_of_a_batch_is_that_of_its_rows(model: ElmModel, side: str) -> None:
    loss, tokens = model(batch_of(model, side=side))
    alone = [model(batch_of(model, [b])) for b in range(4)]
    assert tokens == sum(n for _, n in alone)
    torch.testing.assert_close(loss, sum(value for value, _ in alone), atol=1e-3, rtol=1e-5)


@torch.no_grad()
def test_the_loss_is_the_one_of_all_logits(model: ElmModel) -> None:
    batch = batch_of(model)
    total, count = 0.0, 0
    probabilities = model.logits(batch).float().log_softmax(-1)
    for b in range(4):
        for t in range(1, batch.labels.shape[1]):
            if batch.labels[b, t] != IGNORED:
                total -= probabilities[b, t - 1, batch.labels[b, t]].item()
                count += 1
    loss, tokens = model(batch)
    assert (tokens.item(), loss.item()) == (count, pytest.approx(total, rel=1e-4))


@torch.no_grad()
def test_the_loss_is_the_same_without_the_shortcut(model: ElmModel) -> None:
    batch = batch_of(model)
    quick, tokens = model(batch)
    model.language.plain_head = False
    try:
        slow, same = model(batch)
    finally:
        model.language.plain_head = True
    assert tokens == same
    torch.testing.assert_close(quick, slow, atol=1e-3, rtol=1e-5)


@torch.no_grad()
def test_a_capped_head_is_no_plain_head(tokenizer) -> None:
    llm = make_llm("gemma3", len(tokenizer), final_logit_softcapping=0.5)
    capped = make_model(wrap(llm, tokenizer, "capped"))
    assert not capped.language.plain_head
    batch = batch_of(capped)
    assert capped.logits(batch).abs().max() <= 0.5
    chosen = batch.labels[:, 1:] != IGNORED
    expected = torch.nn.functional.cross_entropy(
        capped.logits(batch)[:, :-1][chosen], batch.labels[:, 1:][chosen], reduction="sum"
    )
    torch.testing.assert_close(capped(batch)[0], expected)


@torch.no_grad()
def test_soft_tokens_stand_in_their_places_and_words_elsewhere(model: ElmModel) -> None:
    batch, vectors = batch_of(model, side="left"), vectors_for(QUESTIONS)
    embeds, words = model.embed(batch), model.llm.get_input_embeddings()(batch.input_ids)
    soft = torch.zeros(batch.input_ids.shape, dtype=torch.bool)
    prompts = PromptFormat(model.language.tokenizer, SOFT)
    for b, (question, spaces, answer) in enumerate(QUESTIONS):
        prompt = prompts(question, spaces, answer)
        offset = batch.input_ids.shape[1] - len(prompt)
        for slot in prompt.slots:
            place = slice(offset + slot.start, offset + slot.start + slot.length)
            expected = model.adapter(slot.space)(torch.from_numpy(vectors[b][slot.name])[None])[0]
            torch.testing.assert_close(embeds[b, place], expected)
            soft[b, place] = True
    assert soft.sum() == 4 * 3 + 2 * 2  # four islands, two users
    torch.testing.assert_close(embeds[~soft], words[~soft])


@torch.no_grad()
def test_the_vector_matters_and_only_to_its_row(model: ElmModel) -> None:
    before = model.logits(batch_of(model))
    vectors = vectors_for(QUESTIONS)
    vectors[1]["b"] = vectors[1]["b"] + 1.0
    after = model.logits(batch_of(model, vectors=vectors))
    changed = (before - after).abs().amax((1, 2))
    assert changed[1] > 1e-2
    assert changed[[0, 2, 3]].max() < 1e-5


# ---- generation


def test_a_batch_is_continued_as_its_rows_are(model: ElmModel) -> None:
    together = continued(model, range(4))
    assert together == [continued(model, [b])[0] for b in range(4)]
    assert together != continued(model, range(4), seed=1)  # the vectors decide


def test_the_first_word_is_the_likeliest(model: ElmModel) -> None:
    batch = batch_of(model, side="left", target=False)
    with torch.no_grad():
        likeliest = model.logits(batch)[:, -1].argmax(-1).tolist()
    assert [row[0] for row in continued(model, range(4))] == likeliest


def test_generation_with_a_cache_is_generation_without(model: ElmModel) -> None:
    assert continued(model, range(4)) == continued(model, range(4), use_cache=False)


@pytest.mark.parametrize("beams", [2, 3])
def test_beams_keep_vectors_with_their_rows(model: ElmModel, beams: int) -> None:
    together = continued(model, range(4), num_beams=beams)
    assert together == [continued(model, [b], num_beams=beams)[0] for b in range(4)]


def test_several_answers_keep_vectors_with_their_rows(model: ElmModel) -> None:
    settings = {"num_beams": 3, "num_return_sequences": 3}
    together = continued(model, range(4), **settings)
    assert len(together) == 12
    assert together == [row for b in range(4) for row in continued(model, [b], **settings)]
    torch.manual_seed(0)
    # Sampling among one token is greedy, so each of the two answers must be the row's own.
    sampled = continued(model, range(4), do_sample=True, top_k=1, num_return_sequences=2)
    greedy = continued(model, range(4))
    assert sampled == [row for row in greedy for _ in range(2)]


# ---- what is refused


def refused(model: ElmModel, vectors: dict[str, object], question: int = 1) -> str:
    prompts = PromptFormat(model.language.tokenizer, SOFT)
    made = [prompts(*QUESTIONS[n]) for n in (0, question)]
    with pytest.raises(PromptError) as error:
        collate(made, [vectors_for(QUESTIONS)[0], vectors], DIMS, 0)
    return str(error.value)


def test_vectors_that_do_not_fit_are_refused(llama: ElmModel) -> None:
    good = np.zeros(16, np.float32)
    assert "example 1: slot {b} has no vector; slots with a vector: a" in refused(llama, {"a": good})
    message = refused(llama, {"a": good, "b": np.zeros(15)})
    assert "example 1, slot {b}: space 'island' has 16 dimensions, the vector has shape (15,)" in message
    assert "shape (1, 16)" in refused(llama, {"a": good, "b": good[None]})
    for wrong in (np.nan, np.inf, 1e39):  # the last is infinite in float32
        with np.errstate(over="ignore"):
            assert "example 1, slot {a}: the vector contains NaN" in refused(llama, {"a": good + wrong, "b": good})


def test_a_batch_for_other_adapters_is_refused(llama: ElmModel) -> None:
    batch = batch_of(llama)
    wider = dataclasses.replace(batch, vectors={**batch.vectors, "user": torch.zeros(4, 1, 6)})
    with pytest.raises(PromptError, match=r"'user' have 6 dimensions, its adapter takes 5"):
        llama(wider)
    stranger = {name: {**getattr(batch, name)} for name in ("vectors", "vector_mask", "positions")}
    for values in stranger.values():
        values["film"] = values["user"]
    with pytest.raises(PromptError, match=r"no adapter for space 'film'; there are adapters for island, user"):
        llama(dataclasses.replace(batch, **stranger))


# ---- adapters


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_soft_tokens_are_as_loud_as_words(tokenizer, kind: str, islands: VectorSpace) -> None:
    for family in FAMILIES:
        llm = make_llm(family, len(tokenizer))
        language = wrap(llm, tokenizer, family)
        words = llm.get_input_embeddings()(torch.arange(len(tokenizer))).square().mean().sqrt().item()
        assert language.embedding_rms == pytest.approx(words, rel=1e-5)
        config = ElmAdapterConfig(vector_dim=16, llm_hidden_size=32, soft_tokens=4, kind=kind, width=32)
        adapter = ElmAdapter.create(config, islands.normalizer, language.embedding_rms)
        soft = adapter(torch.from_numpy(np.array(islands.vectors)))
        assert soft.shape == (len(islands), 4, 32)
        assert soft.square().mean().sqrt().item() == pytest.approx(words, rel=0.1)


def test_a_constant_dimension_gives_numbers(llama: ElmModel, corpus: Corpus) -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    vectors[:, 3], vectors[:, 7] = 5.0, 0.0
    space = VectorSpace.create("flat", vectors, {"id": [str(n) for n in range(50)]})
    config = ElmAdapterConfig(vector_dim=16, llm_hidden_size=32, soft_tokens=2, width=8)
    adapter = ElmAdapter.create(config, space.normalizer, 1.0)
    soft = adapter(torch.from_numpy(vectors))
    assert soft.isfinite().all()
    assert soft.square().mean().sqrt().item() == pytest.approx(1.0, rel=0.2)
    soft.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in adapter.parameters())


def test_a_seed_decides_the_adapter_and_nothing_else_random(islands: VectorSpace) -> None:
    config = ElmAdapterConfig(vector_dim=16, llm_hidden_size=32, width=8)
    before = torch.get_rng_state()
    first, again, other = (ElmAdapter.create(config, islands.normalizer, 1.0, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.second.weight, again.second.weight)
    assert not torch.equal(first.second.weight, other.second.weight)


def test_the_adapter_stays_exact_where_the_llm_is_not(tokenizer, tmp_path: Path) -> None:
    folder = save_llm("llama", tokenizer, tmp_path / "llm")
    language = load_llm(str(folder), device="cpu", dtype="bfloat16")
    model = make_model(language)
    assert language.model.dtype == torch.bfloat16
    assert {p.dtype for p in model.adapters.parameters()} == {torch.float32}
    assert model.embed(batch_of(model)).dtype == torch.bfloat16
    loss, tokens = model(batch_of(model))
    (loss / tokens).backward()
    gradient = model.adapter("island").second.weight.grad
    assert gradient is not None
    assert gradient.dtype == torch.float32
    assert gradient.abs().sum() > 0
    exact = make_model(load_llm(str(folder), device="cpu", dtype="float32"))(batch_of(model))[0]
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    model.adapter("island").save_pretrained(tmp_path / "adapter")
    loaded = ElmAdapter.from_pretrained(tmp_path / "adapter", dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.second.weight, model.adapter("island").second.weight)


def test_every_adapter_takes_part_in_every_training_step(llama: ElmModel) -> None:
    llama.train()
    try:
        loss, _ = llama(batch_of(llama, [0]))  # no user in it
        loss.backward()
        for adapter, used in (("island", True), ("user", False)):
            gradients = [p.grad for p in llama.adapter(adapter).parameters()]
            assert all(g is not None for g in gradients)
            assert any(g.abs().sum() > 0 for g in gradients) == used
    finally:
        llama.zero_grad()
        llama.eval()
