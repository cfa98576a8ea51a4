"""Rates, the order of examples, and what a batch holds."""

from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from vectalk.model import PromptFormat
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus
from vectalk.training.config import StageConfig
from vectalk.training.data import Examples
from vectalk.training.order import length_grouped
from vectalk.training.stage import learning_rate

# ---- rates and order


def test_the_rate_rises_and_falls() -> None:
    stage = StageConfig(steps=100, warmup=0.1)
    rates = [learning_rate(stage, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert max(rates) == rates[10] == 1.0
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.0, abs=0.001)
    assert learning_rate(stage, 100) == learning_rate(stage, 1000) == pytest.approx(0.0)
    higher = StageConfig(steps=100, warmup=0.1, floor=0.02)
    assert [learning_rate(higher, step) for step in (0, 9)] == rates[0:10:9]
    assert learning_rate(higher, 100) == pytest.approx(0.02)
    constant = StageConfig(steps=100, warmup=0.0, schedule="constant")
    assert {learning_rate(constant, step) for step in range(100)} == {1.0}
    assert learning_rate(StageConfig(steps=1), 0) == 1.0


@pytest.mark.parametrize(("count", "size"), [(100, 8), (96, 8), (5, 8), (1, 1), (1000, 3)])
def test_every_example_once_an_epoch(count: int, size: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 100, count)
    per_epoch = -(-count // size)
    batches = list(islice(length_grouped(lengths, size, [0]), 3 * per_epoch))
    epochs = [np.concatenate(batches[i * per_epoch : (i + 1) * per_epoch]) for i in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(count))
    if count > 50:
        assert not np.array_equal(epochs[0], epochs[1])
        other = np.concatenate(list(islice(length_grouped(lengths, size, [1]), per_epoch)))
        assert not np.array_equal(epochs[0], other)


def test_a_batch_holds_examples_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, 400)
    spread = [np.ptp(lengths[batch]) for batch in islice(length_grouped(lengths, 8, [0]), 50)]
    assert np.mean(spread) < 50
    first = [lengths[batch].mean() for batch in islice(length_grouped(lengths, 8, [0]), 50)]
    assert first != sorted(first)  # short ones do not all come first


@pytest.mark.parametrize("skipped", [0, 1, 12, 13, 14, 40])
def test_a_start_is_so_many_batches_further(skipped: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 100)  # 13 batches of 8
    whole = list(islice(length_grouped(lengths, 8, [3, 1]), skipped + 20))
    later = list(islice(length_grouped(lengths, 8, [3, 1], skipped), 20))
    for a, b in zip(whole[skipped:], later, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("balance", [0.25, 0.5, 1.0])
def test_balance_gives_small_groups_a_larger_share(balance: float) -> None:
    sizes = np.array([600, 90, 10])
    groups = np.random.default_rng(1).permutation(np.repeat([7, 2, 4], sizes))
    lengths = np.random.default_rng(0).integers(1, 100, 700)
    order = length_grouped(lengths, 7, [0], groups=groups, balance=balance)
    epochs = [np.concatenate(list(islice(order, 100))) for _ in range(5)]
    weights = sizes ** (1 - balance)
    for epoch in epochs:
        counts = np.array([(groups[epoch] == group).sum() for group in (7, 2, 4)])
        np.testing.assert_allclose(counts, 700 * weights / weights.sum(), atol=1)
    # within a group, no example comes more than once more often than another one
    times = np.bincount(np.concatenate(epochs), minlength=700)
    for group in (7, 2, 4):
        assert np.ptp(times[groups == group]) <= 1
    # the groups are mixed: a batch of 7 holds several of them
    assert np.mean([len(set(groups[batch])) for batch in islice(order, 100)]) > 1.2
    for start in (1, 99, 100, 260):
        whole = list(islice(length_grouped(lengths, 7, [0], groups=groups, balance=balance), start + 9))
        later = list(islice(length_grouped(lengths, 7, [0], start, groups=groups, balance=balance), 9))
        assert all(np.array_equal(a, b) for a, b in zip(whole[start:], later, strict=True))


def test_without_balance_or_with_one_group_the_order_is_that_of_all_examples() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 70)
    plain = list(islice(length_grouped(lengths, 8, [0]), 20))
    for groups, balance in ((np.arange(70) % 3, 0.0), (np.full(70, 5), 1.0)):
        other = islice(length_grouped(lengths, 8, [0], groups=groups, balance=balance), 20)
        assert all(np.array_equal(a, b) for a, b in zip(plain, other, strict=True))


# ---- examples


@pytest.fixture(scope="module")
def examples(corpus: Corpus, tokenizer) -> Examples:
    prompts = PromptFormat(tokenizer, {"island": 2})
    return Examples(corpus.table("train"), corpus.spaces, prompts, noise=0.5)


def test_examples_carry_the_vectors_of_their_rows(examples: Examples, corpus: Corpus, islands: VectorSpace) -> None:
    numbers = np.array([3, 700, 1500, 0])
    known = list(corpus.examples("train"))
    batch = examples.batch(numbers)
    for b, number in enumerate(numbers):
        for k, (_, row) in enumerate(known[number].slots.values()):
            np.testing.assert_array_equal(batch.vectors["island"][b, k], islands.vectors[row])
            assert batch.vector_mask["island"][b, k]
        assert batch.vector_mask["island"][b].sum() == len(known[number].slots)


def test_shuffled_vectors_are_of_other_entities(examples: Examples) -> None:
    numbers = np.array([0, 1, 2, 3, 700, 1500, 1501])  # the first ones are about the same island
    right, shuffled = examples.batch(numbers), examples.batch(numbers, shuffle=1)
    assert torch.equal(right.input_ids, shuffled.input_ids)
    mask = right.vector_mask["island"]
    same = (right.vectors["island"] == shuffled.vectors["island"]).all(-1)
    assert not (same & mask).any()
    real = {tuple(v.tolist()) for v in right.vectors["island"][mask]}
    assert {tuple(v.tolist()) for v in shuffled.vectors["island"][mask]} <= real


def test_noise_is_of_the_given_size_and_of_the_seed(examples: Examples, islands: VectorSpace) -> None:
    numbers = np.arange(300)
    exact = examples.batch(numbers).vectors["island"]
    noisy = examples.batch(numbers, noise_seed=[1, 2]).vectors["island"]
    mask = examples.batch(numbers).vector_mask["island"]
    noise = ((noisy - exact)[mask] / torch.from_numpy(islands.normalizer.scale)).numpy()
    assert noise.std() == pytest.approx(0.5, rel=0.05)
    assert abs(noise.mean()) < 0.02
    assert torch.equal(noisy, examples.batch(numbers, noise_seed=[1, 2]).vectors["island"])
    assert not torch.equal(noisy, examples.batch(numbers, noise_seed=[1, 3]).vectors["island"])
