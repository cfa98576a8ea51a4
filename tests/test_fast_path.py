"""The quick ways of training give what the plain way gives: losses and gradients, for every family."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vectalk.errors import PromptError, TrainingError
from vectalk.llm.loading import wrap
from vectalk.model import ElmModel, PromptFormat
from vectalk.model.linear_loss import linear_cross_entropy
from vectalk.model.prompt import IGNORED
from vectalk.model.sharing import can_share
from vectalk.tasks import Corpus
from vectalk.training.adapters import make_adapters
from vectalk.training.config import TrainConfig
from vectalk.training.data import Examples
from vectalk.training.loop import out_of_memory_advice
from vectalk.training.order import length_grouped
from vectalk.training.tokens import Tokens
from vectalk.training.trainer import train
from worlds import EACH_FAMILY, SHORT, log_of, make_llm, save_llm

SETTINGS = TrainConfig.load(None, {"adapter.soft_tokens": 2, "adapter.width": 16})
CHOSEN = np.array([5, 900, 17, 1800, 1801, 40, 333])


@pytest.fixture(scope="module", params=EACH_FAMILY)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str, corpus: Corpus, chat) -> ElmModel:
    language = wrap(make_llm(family, len(chat)), chat, family)
    return ElmModel(language, make_adapters(corpus.spaces, SETTINGS, language)).eval()


@pytest.fixture(scope="module")
def examples(corpus: Corpus, chat) -> Examples:
    prompts = PromptFormat(chat, {"island": 2})
    return Examples(corpus.table("train"), corpus.spaces, prompts, noise=0.1)


def learned(model: ElmModel, *batches, plain: bool = False) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the summed loss of batches and the gradient of every parameter that has one."""
    model.zero_grad()
    total = 0.0
    for batch in batches:
        if plain:
            logits = model.logits(batch)[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), batch.labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
            )
        else:
            loss, _ = model(batch)
        loss.backward()
        total += loss.item()
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_alike(one: tuple[float, dict], other: tuple[float, dict]) -> None:
    assert one[0] == pytest.approx(other[0], rel=2e-5)
    assert one[1].keys() == other[1].keys()
    largest = max(gradient.abs().max().item() for gradient in one[1].values())
    for name, gradient in one[1].items():
        # Attention does not depend on the keys' bias, so its gradient is the rounding of much larger numbers.
        size = max(gradient.abs().max().item(), 1e-3 * largest)
        torch.testing.assert_close(gradient, other[1][name], atol=2e-4 * size + 1e-6, rtol=1e-3, msg=name)


def test_logits_at_chosen_places_are_enough(model: ElmModel, examples: Examples) -> None:
    batch = examples.batch(CHOSEN)
    model.share_from = None
    assert_alike(learned(model, batch), learned(model, batch, plain=True))


def test_what_rows_share_is_read_once(model: ElmModel, examples: Examples, family: str) -> None:
    batch = examples.batch(CHOSEN)
    header = examples.prompts.before
    assert batch.shared >= len(header) > 8
    assert (batch.input_ids[:, : batch.shared] == batch.input_ids[0, : batch.shared]).all()
    if not can_share(model.llm):
        pytest.skip(f"{family} cannot")
    model.share_from = None
    apart = learned(model, batch)
    model.share_from = 1
    assert_alike(learned(model, batch), apart)


@pytest.mark.parametrize(("share_from", "silent_from", "passes"), [(1, 999, 2), (999, 1, 2), (1, 1, 3)])
def test_with_a_frozen_llm_no_gradient_goes_through_what_precedes_the_vectors(
    model: ElmModel, examples: Examples, share_from: int, silent_from: int, passes: int
) -> None:
    batch, seen, base = examples.batch(CHOSEN), [], model.llm.base_model
    assert len(examples.prompts.before) <= batch.shared < batch.before
    assert batch.before == int(batch.positions["island"][batch.vector_mask["island"]].min())
    if not can_share(model.llm):
        pytest.skip(f"{model.language.name} cannot")

    def note(module: torch.nn.Module, given: tuple, out: Any) -> None:
        seen.append((out.last_hidden_state.shape[:2], out.last_hidden_state.requires_grad))

    model.llm.requires_grad_(False)
    hook = base.register_forward_hook(note)
    try:
        model.share_from = None
        apart = learned(model, batch)
        seen.clear()
        model.share_from, model.silent_from = share_from, silent_from
        assert_alike(learned(model, batch), apart)
    finally:
        hook.remove()
        model.llm.requires_grad_(True)
    assert [silent for _, silent in seen] == [False] * (passes - 1) + [True]
    length = batch.input_ids.shape[1]
    assert sum(columns for (_, columns), _ in seen) == length
    assert seen[-1][0][1] == length - (batch.shared if silent_from == 999 else batch.before)


def test_an_llm_that_learns_learns_from_what_precedes_the_vectors(model: ElmModel, examples: Examples) -> None:
    batch = examples.batch(CHOSEN)
    model.share_from = None
    apart = learned(model, batch)
    model.share_from, model.silent_from = 999, 1
    assert_alike(learned(model, batch), apart)


@pytest.mark.parametrize("pieces", [2, 3, 10])
def test_pieces_add_up(model: ElmModel, examples: Examples, pieces: int) -> None:
    whole = learned(model, examples.batch(CHOSEN, noise_seed=[1]))
    parts = [examples.batch(CHOSEN, part=(i, pieces), noise_seed=[1]) for i in range(pieces)]
    assert_alike(learned(model, *parts), whole)
    assert sum(len(p.supervised) for p in parts) == examples.supervised(CHOSEN)


def test_recurrent_models_are_trained_and_share_nothing(corpus: Corpus, tokenizer, tmp_path: Path) -> None:
    llm = save_llm("mamba", tokenizer, tmp_path / "mamba")
    assert not can_share(make_llm("mamba", len(tokenizer)))
    run = train(corpus, str(llm), tmp_path / "run", TrainConfig.load(None, {**SHORT, "stage2.steps": 0}), device="cpu")
    assert run.card.llm.trained == "frozen"


@pytest.mark.parametrize("change", [{"gradient_checkpointing": True}, {"batch_tokens": 10_000}])
def test_quick_ways_train_the_same(corpus: Corpus, random_llm: Path, tmp_path: Path, change: dict) -> None:
    logs = []
    for name, more in (("plain", {}), ("quick", change)):
        run = train(corpus, str(random_llm), tmp_path / name, TrainConfig.load(None, {**SHORT, **more}), device="cpu")
        logs.append([row[key] for row in log_of(run.path) for key in ("loss", "validation_loss") if key in row])
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)


def test_memory_that_does_not_suffice_is_told(examples: Examples) -> None:
    batch = examples.batch(CHOSEN)
    message = r"a batch of 7 rows of \d+ tokens; raise grad_accumulation"
    with pytest.raises(TrainingError, match=message), out_of_memory_advice(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(TrainingError, match=message), out_of_memory_advice(batch):
        torch.empty(1 << 52)
    with pytest.raises(TrainingError, match=r"for the optimiser's moments.*--lora"), out_of_memory_advice():
        torch.empty(1 << 52)
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory_advice(batch):
        raise RuntimeError("shapes differ")


def test_a_step_that_does_not_fit_says_what_to_lower(corpus: Corpus, random_llm, tmp_path: Path, monkeypatch) -> None:
    forward, sizes = ElmModel.forward, []

    def limited(self, batch):
        sizes.append(len(batch))
        if self.training and len(batch) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, batch)

    monkeypatch.setattr(ElmModel, "forward", limited)
    with pytest.raises(TrainingError, match=r"out of memory in a batch of 8 rows of \d+ tokens; raise grad_accum"):
        train(corpus, str(random_llm), tmp_path / "run", TrainConfig.load(None, dict(SHORT)), device="cpu")
    # What the message advises.
    settings = TrainConfig.load(None, {**SHORT, "grad_accumulation": 2})
    sizes.clear()
    train(corpus, str(random_llm), tmp_path / "again", settings, device="cpu")
    assert max(sizes) == 4  # in evaluations too


# ---- the loss


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("block", [1, 7, None])
def test_a_loss_in_blocks_is_the_loss(bias: bool, frozen: bool, block: int | None) -> None:
    made = torch.Generator().manual_seed(0)
    hidden = torch.randn(20, 8, generator=made, requires_grad=True)
    weight = torch.randn(30, 8, generator=made).requires_grad_(not frozen)
    shift = torch.randn(30, generator=made).requires_grad_(not frozen) if bias else None
    targets = torch.randint(0, 30, (20,), generator=made)
    inputs = [p for p in (hidden, weight, shift) if p is not None and p.requires_grad]
    plain = torch.nn.functional.cross_entropy(
        torch.nn.functional.linear(hidden, weight, shift), targets, reduction="sum"
    )
    expected = torch.autograd.grad(3 * plain, inputs)
    loss = linear_cross_entropy(hidden, weight, shift, targets, block=block)
    torch.testing.assert_close(loss, plain)
    for one, other in zip(torch.autograd.grad(3 * loss, inputs), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(hidden, weight, shift, targets, block=block), plain)


def test_a_loss_in_blocks_never_holds_all_logits() -> None:
    hidden, weight = torch.randn(64, 4, requires_grad=True), torch.randn(1000, 4, requires_grad=True)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            largest = max(largest, out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    with Watch():
        linear_cross_entropy(hidden, weight, None, torch.zeros(64, dtype=torch.long), block=8).backward()
    assert largest == 8 * 1000


# ---- tokens and order


def test_tokens_are_those_of_the_prompts(corpus: Corpus, chat) -> None:
    prompts = PromptFormat(chat, {"island": 2})
    made = Tokens.of_corpus(corpus, "train", prompts)
    again = Tokens.of_corpus(corpus, "train", prompts)
    assert isinstance(again.ids, np.memmap)
    examples = list(corpus.examples("train"))
    assert len(made) == len(again) == len(examples)
    for number in range(0, len(examples), 97):
        example = examples[number]
        expected = prompts(example.prompt, {s: space for s, (space, _) in example.slots.items()}, example.target)
        assert made.prompt(number, prompts.soft_tokens) == expected == again.prompt(number, prompts.soft_tokens)


def test_other_tokens_are_kept_apart(corpus: Corpus, chat, tokenizer) -> None:
    wide = Tokens.of_corpus(corpus, "validation", PromptFormat(chat, {"island": 5}))
    slim = Tokens.of_corpus(corpus, "validation", PromptFormat(chat, {"island": 2}))
    plain = Tokens.of_corpus(corpus, "validation", PromptFormat(tokenizer, {"island": 2}))
    slots = np.asarray(wide.arrays["slots"])
    np.testing.assert_array_equal(wide.lengths - slim.lengths, 3 * slots)
    assert not np.array_equal(slim.lengths, plain.lengths)


def test_a_target_with_special_tokens_is_text(corpus: Corpus, chat) -> None:
    prompts = PromptFormat(chat, {"island": 2})
    texts = ["plain", "with <|im_end|> inside", "", " blank first", "<|end|>"]
    assert prompts.answers(texts) == [prompts._tokenise(text) for text in texts]


def test_a_vector_that_is_no_number_is_named(corpus: Corpus, chat, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = Examples(corpus.table("train"), corpus.spaces, PromptFormat(chat, {"island": 2}))
    row = int(examples.tokens.slots(np.array([3])).row[0])
    vectors = np.array(corpus.spaces["island"].vectors)
    vectors[row] = np.nan
    monkeypatch.setattr(corpus.spaces["island"], "vectors", vectors)
    with pytest.raises(PromptError, match=rf"space 'island': the vector of row {row} contains NaN"):
        examples.batch(np.array([3]))


@pytest.mark.parametrize("budget", [300, 1000, 10])
def test_batches_stay_below_their_tokens(budget: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 500)

    def order(start: int = 0) -> Iterator[np.ndarray]:
        return length_grouped(lengths, 16, [0], start, tokens=budget)

    batches = list(islice(order(), 700))
    seen = np.concatenate(batches)
    assert sorted(seen[:500]) == list(range(500))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= budget
        assert len(batch) <= 16
    for one, other in zip(batches[620:], order(620), strict=False):
        assert np.array_equal(one, other)
