"""An adapter solved in closed form finds the map that made the words, and nothing where there is none."""

import numpy as np
import pytest
import torch

from vectalk.model.adapter import ElmAdapter, ElmAdapterConfig
from vectalk.space.normalizer import Normalizer
from vectalk.training.closed_form import Bags, features_of, solve

DIM, HIDDEN, PARTS, WORDS, COUNT = 4, 8, 2, 12, 400


def adapter_of(kind: str) -> ElmAdapter:
    shape = ElmAdapterConfig(
        space="island", vector_dim=DIM, llm_hidden_size=HIDDEN, soft_tokens=PARTS, kind=kind, width=64
    )
    return ElmAdapter.create(shape, Normalizer(np.zeros(DIM, np.float32), np.ones(DIM, np.float32)), 1.0)


def world(linked: bool) -> tuple[np.ndarray, Bags, torch.Tensor]:
    """Vectors, one word for each part that the vector decides (or chance), and embeddings of the words."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((COUNT, DIM)).astype(np.float32)
    signs = (vectors if linked else rng.standard_normal((COUNT, DIM)))[:, :PARTS] > 0
    ids = (signs * 2 + np.arange(PARTS)).reshape(-1).astype(np.int64)
    starts = np.arange(COUNT * PARTS + 1, dtype=np.int64)
    table = torch.randn(WORDS, HIDDEN, generator=torch.Generator().manual_seed(0))
    return vectors, Bags(ids, np.ones(len(ids), np.float32), starts, PARTS), table


@pytest.mark.parametrize("kind", ["linear", "mlp", "residual"])
def test_words_that_the_vector_decides_are_found(kind: str) -> None:
    vectors, bags, table = world(linked=True)
    adapter = adapter_of(kind)
    values = torch.from_numpy(vectors)
    share = solve(
        adapter,
        lambda a, b: iter([(np.arange(b - a), values[a:b], "island")]),
        np.arange(COUNT),
        bags,
        table,
    )
    assert share > 0.5
    soft = adapter(values)
    targets = bags.embeddings(0, COUNT, table).view_as(soft)
    assert (torch.nn.functional.cosine_similarity(soft, targets, dim=-1) > 0.5).float().mean() > 0.9
    width = {"linear": DIM, "mlp": 64, "residual": DIM + 64}[kind]
    assert features_of(adapter, values, "island").shape == (COUNT, width)


def test_words_at_random_are_not_explained() -> None:
    vectors, bags, table = world(linked=False)
    values = torch.from_numpy(vectors)
    share = solve(
        adapter_of("mlp"),
        lambda a, b: iter([(np.arange(b - a), values[a:b], "island")]),
        np.arange(COUNT),
        bags,
        table,
    )
    assert share < 0.1


def test_bags_weigh_their_words() -> None:
    table = torch.eye(3)
    bags = Bags(np.array([0, 1, 2, 2]), np.array([0.25, 0.75, 1.0, 0.5], np.float32), np.array([0, 2, 3, 4, 4]), 2)
    assert len(bags) == 2
    expected = torch.tensor([[0.25, 0.75, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.5, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(bags.embeddings(0, 2, table), expected)
    torch.testing.assert_close(bags.embeddings(1, 2, table), expected[1:])
