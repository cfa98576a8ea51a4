"""The model: a batch is its rows, vectors stay with their rows, and what is saved is what is loaded."""

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertLMHeadModel, GenerationConfig, PreTrainedModel, T5Config

from vectalk.errors import LanguageModelError, PromptError, RunError
from vectalk.files import write_text
from vectalk.model import Batch, ElmAdapter, ElmAdapterConfig, ElmModel, LanguageModel, PromptFormat, collate, load_llm
from vectalk.model.adapter import KINDS
from vectalk.model.llm import check_embeddings, wrap
from vectalk.model.prompt import IGNORED
from vectalk.model.run import FrameCard, LlmCard, Run, RunCard, SpaceCard, save_model, write_card
from vectalk.space import VectorSpace
from vectalk.space.normalizer import Normalizer
from vectalk.tasks import Corpus
from vectalk.training.config import LoraConfig, StageConfig
from vectalk.training.stage import prepare
from worlds import FAMILIES, make_llm, save_llm

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


@pytest.fixture(scope="module", params=list(FAMILIES))
def model(request: pytest.FixtureRequest, tokenizer) -> ElmModel:
    return make_model(wrap(make_llm(request.param, len(tokenizer)), tokenizer, request.param))


@pytest.fixture(scope="module")
def llama(tokenizer) -> ElmModel:
    return make_model(wrap(make_llm("llama", len(tokenizer)), tokenizer, "llama"))


def batch_of(model: ElmModel, numbers=range(4), side="right", target=True, vectors=None) -> Batch:
    prompts = PromptFormat(model.language.tokenizer, SOFT)
    vectors = vectors or vectors_for(QUESTIONS)
    made = [prompts(q, spaces, answer if target else None) for q, spaces, answer in (QUESTIONS[n] for n in numbers)]
    return collate(made, [vectors[n] for n in numbers], DIMS, prompts.pad_id, side)


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
    assert "example 1: slot {b} has no vector; given are ['a']" in refused(llama, {"a": good})
    message = refused(llama, {"a": good, "b": np.zeros(15)})
    assert "example 1, slot {b}: space 'island' has 16 dimensions, the vector has shape (15,)" in message
    assert "shape (1, 16)" in refused(llama, {"a": good, "b": good[None]})
    for wrong in (np.nan, np.inf, 1e39):  # the last is infinite in float32
        with np.errstate(over="ignore"):
            assert "example 1, slot {a}: the vector holds NaN" in refused(llama, {"a": good + wrong, "b": good})


def test_a_batch_for_other_adapters_is_refused(llama: ElmModel) -> None:
    batch = batch_of(llama)
    wider = dataclasses.replace(batch, vectors={**batch.vectors, "user": torch.zeros(4, 1, 6)})
    with pytest.raises(PromptError, match=r"'user' have 6 dimensions, its adapter takes 5"):
        llama(wider)
    stranger = {name: {**getattr(batch, name)} for name in ("vectors", "vector_mask", "positions")}
    for values in stranger.values():
        values["film"] = values["user"]
    with pytest.raises(PromptError, match=r"no adapter for space 'film'; there are island, user"):
        llama(dataclasses.replace(batch, **stranger))


class Peeking(torch.nn.Module):
    """Wraps a forward pass so that ids are used once more, behind the first layer."""

    def __init__(self, llm: PreTrainedModel) -> None:
        super().__init__()
        self.whole, self.forward_of = llm, llm.forward

    def forward(self, input_ids=None, **inputs):
        output = self.forward_of(input_ids=input_ids, **inputs)
        if input_ids is not None:
            output.logits = output.logits + 0.1 * torch.nn.functional.one_hot(input_ids, output.logits.shape[-1])
        return output


def test_an_llm_that_uses_ids_elsewhere_is_refused(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = make_llm("llama", len(tokenizer))
    assert check_embeddings(llm, "mine") is True
    monkeypatch.setattr(llm, "forward", Peeking(llm).forward)
    with pytest.raises(LanguageModelError, match=r"'mine' gives other logits.*largest gap 0\.1.*beyond the first"):
        wrap(llm, tokenizer, "mine")


def test_an_llm_that_takes_no_embeddings_is_refused(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = make_llm("llama", len(tokenizer))
    before = llm.forward

    def forward(input_ids=None, inputs_embeds=None, **inputs):
        if inputs_embeds is not None:
            raise NotImplementedError("ids only")
        return before(input_ids=input_ids, **inputs)

    monkeypatch.setattr(llm, "forward", forward)
    with pytest.raises(LanguageModelError, match="does not take embeddings in place of ids: ids only"):
        wrap(llm, tokenizer, "mine")


def test_an_llm_without_an_end_token_is_refused(tokenizer) -> None:
    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    with pytest.raises(LanguageModelError, match="no end-of-text token"):
        wrap(make_llm("llama", len(tokenizer)), endless, "mine")


def test_an_encoder_is_refused(tokenizer, tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = BertConfig(vocab_size=len(tokenizer), initializer_range=0.2, **shape)
    BertLMHeadModel(config).save_pretrained(tmp_path)  # the library loads it as a causal LLM, which it is not
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(LanguageModelError, match=r"looks ahead.*as in encoders; take a decoder"):
        load_llm(str(tmp_path), device="cpu")
    config.is_decoder = True
    assert check_embeddings(BertLMHeadModel(config).eval(), "mine") is False  # its head is more than a linear map


def test_a_translator_is_refused(tokenizer, tmp_path: Path) -> None:
    T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(LanguageModelError, match=r"cannot be loaded: .*T5Config"):
        load_llm(str(tmp_path), device="cpu")


# Loads an LLM by hub name, as it was at a revision, out of a cache that is all there is.
FROM_CACHE = """
import sys
from vectalk.errors import LanguageModelError
from vectalk.model import load_llm

for revision in sys.argv[1:]:
    try:
        llm = load_llm("someone/tiny", revision=revision, device="cpu")
        print(revision, llm.revision, llm.hidden_size)
    except LanguageModelError as error:
        print(revision, "error:", error)
"""


def test_a_hub_llm_is_taken_at_its_revision_without_a_network(tokenizer, tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--someone--tiny"
    for commit, ref, width in (("a" * 40, "main", 32), ("b" * 40, "wide", 64)):
        save_llm("llama", tokenizer, cache / "snapshots" / commit, hidden_size=width)
        write_text(cache / "refs" / ref, commit)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    command = [sys.executable, "-c", FROM_CACHE, "main", "wide", "a" * 40, "other"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[:3] == [f"main {'a' * 40} 32", f"wide {'b' * 40} 64", f"{'a' * 40} {'a' * 40} 32"], done.stderr
    assert lines[3].startswith("other error: LLM 'someone/tiny' cannot be loaded")
    assert "HF_HUB_OFFLINE=1 keeps to what is in the cache" in lines[3]


def test_folders_that_are_no_llm_are_refused(tmp_path: Path, tokenizer) -> None:
    with pytest.raises(LanguageModelError, match="no such folder"):
        load_llm(str(tmp_path / "nowhere"))
    with pytest.raises(LanguageModelError, match=r"no config\.json"):
        load_llm(str(tmp_path))
    folder = save_llm("llama", tokenizer, tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(LanguageModelError, match="cannot be loaded"):
        load_llm(str(folder), device="cpu")
    with pytest.raises(LanguageModelError, match="device 'gpu' cannot be used"):
        load_llm(str(folder), device="gpu")


def test_an_llm_that_lacks_weights_is_refused(tmp_path: Path, tokenizer) -> None:
    folder = save_llm("qwen3", tokenizer, tmp_path / "llm")  # its head is tied, and so is not in the file
    assert load_llm(str(folder), device="cpu").plain_head
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(LanguageModelError, match=r"lacks 1 of its weights \(model\.layers\.1\.mlp\.up_proj\.weight"):
        load_llm(str(folder), device="cpu")


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


# ---- what is saved is what is loaded

FRESH = """
import json, sys
import torch
from vectalk.model.run import Run
from vectalk.model import collate
elm, prompts = Run.load(sys.argv[1]).model("cpu")
given = json.loads(sys.stdin.read())
made = [prompts(q, spaces, target) for q, spaces, target in given["questions"]]
batch = collate(made, given["vectors"], given["dims"], prompts.pad_id)
with torch.no_grad():
    torch.save({"logits": elm.logits(batch), "loss": elm(batch)[0]}, sys.argv[2])
"""


def card_for(model: ElmModel, prompts: PromptFormat, base: Path, trained: str) -> RunCard:
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


@torch.no_grad()
@pytest.mark.parametrize("trained", ["frozen", "full", "lora"])
def test_a_saved_run_is_the_same_in_another_process(trained: str, tokenizer, tmp_path: Path) -> None:
    base = save_llm("llama", tokenizer, tmp_path / "base")
    model = make_model(load_llm(str(base), device="cpu"))
    untrained = model.logits(batch_of(model))
    peft_model = prepare(model, StageConfig(steps=1, llm=trained), LoraConfig(rank=4))
    # What training would do: every trained weight moves.
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.eval()
    batch = batch_of(model)
    logits, loss = model.logits(batch), model(batch)[0]
    assert (logits - untrained).abs().max() > 0.05
    run = tmp_path / "run"
    save_model(run, model, trained, peft_model)
    write_text(run / "config.yaml", "dtype: auto\n")
    prompts = PromptFormat(model.language.tokenizer, SOFT)
    write_card(run, card_for(model, prompts, base, trained))
    assert {path.name for path in run.iterdir()} == {
        *{"adapters", "config.yaml", "elm.json"},
        *{"frozen": [], "full": ["llm"], "lora": ["lora"]}[trained],
    }
    vectors = [{slot: vector.tolist() for slot, vector in given.items()} for given in vectors_for(QUESTIONS)]
    subprocess.run(
        [sys.executable, "-c", FRESH, str(run), str(tmp_path / "out.pt")],
        input=json.dumps({"questions": QUESTIONS, "vectors": vectors, "dims": DIMS}),
        text=True,
        check=True,
        capture_output=True,
    )
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.testing.assert_close(found["logits"], logits, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found["loss"], loss, atol=1e-4, rtol=1e-6)


def test_a_run_on_a_llm_of_another_width_is_refused(run: Run, tokenizer, tmp_path: Path) -> None:
    model, prompts = run.model("cpu")
    base = save_llm("llama", tokenizer, tmp_path / "base")
    save_model(tmp_path / "run", model, "frozen")
    write_text(tmp_path / "run" / "config.yaml", "dtype: auto\n")
    write_card(tmp_path / "run", card_for(model, prompts, base, "frozen"))
    with pytest.raises(RunError, match=r"LLM of width 64, .* has 32"):
        Run.load(tmp_path / "run").model("cpu")


def test_code_of_a_model_folder_is_never_run(random_llm: Path, tmp_path: Path) -> None:
    folder, marker = tmp_path / "llm", tmp_path / "ran"
    shutil.copytree(random_llm, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    with pytest.raises(LanguageModelError, match="cannot be loaded"):
        load_llm(str(folder), device="cpu")
    assert not marker.exists()
