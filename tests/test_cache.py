"""Embeddings kept on disk."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vectalk.readback import CachedEncoder


class Letters:
    """An encoder by counts of letters, which remembers what it was asked."""

    name = "some/letters"

    def __init__(self, shift: int = 0) -> None:
        self.shift, self.asked = shift, list[str]()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        rows = np.array([[1 + text.count(chr(97 + (k + self.shift) % 26)) for k in range(26)] for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True) if len(texts) else rows).astype(np.float32)


TEXTS = ["a film about a dog", "war", "a film about a dog", "zebras in love"]


def test_each_text_is_encoded_once_and_never_again(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first, second = Letters(), Letters()
    rows = CachedEncoder(first, tmp_path, lambda *news: told.append(news)).encode(TEXTS)
    assert sorted(first.asked[1:]) == sorted(set(TEXTS))  # the first is the sample that tells encoders apart
    assert told[-1] == (3, 3)
    np.testing.assert_allclose(rows, Letters().encode(TEXTS), atol=1e-3)
    again = CachedEncoder(second, tmp_path)
    np.testing.assert_array_equal(again.encode(TEXTS), rows)
    assert len(second.asked) == 1
    again.encode(["new", "war"])
    assert second.asked[1:] == ["new"]


def test_in_memory_the_same(tmp_path: Path) -> None:
    encoder = Letters()
    cached = CachedEncoder(encoder)
    rows = cached.encode(TEXTS)
    np.testing.assert_array_equal(rows, CachedEncoder(Letters(), tmp_path).encode(TEXTS))
    cached.encode(TEXTS)
    assert len(encoder.asked) == 3
    assert cached.encode([]).shape == (0,)


def test_another_encoder_of_the_same_name_finds_nothing(tmp_path: Path) -> None:
    CachedEncoder(Letters(), tmp_path).encode(TEXTS)
    other = Letters(shift=3)
    np.testing.assert_allclose(CachedEncoder(other, tmp_path).encode(TEXTS), other.encode(TEXTS), atol=1e-3)


@pytest.mark.parametrize("lost", ["rows", "keys"])
def test_a_shard_that_was_not_finished_is_left_alone(tmp_path: Path, lost: str) -> None:
    CachedEncoder(Letters(), tmp_path).encode(TEXTS)
    for file in tmp_path.rglob(f"*.{lost}.npy"):
        file.unlink()
    encoder = Letters()
    np.testing.assert_allclose(CachedEncoder(encoder, tmp_path).encode(TEXTS), Letters().encode(TEXTS), atol=1e-3)
    assert set(encoder.asked) >= set(TEXTS)
