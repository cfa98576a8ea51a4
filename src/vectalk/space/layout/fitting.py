"""Fit 2-D coordinates of a sample of vectors: with UMAP where it is installed, else with PCA and t-SNE."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

import numpy as np

from vectalk.errors import SpaceError

Method = Literal["umap", "tsne", "pca"]
METHODS: tuple[Method, ...] = ("umap", "tsne", "pca")
MOST_FITTED: dict[Method, int] = {"umap": 100_000, "tsne": 10_000, "pca": 100_000}
FEWEST = 8  # with fewer vectors, t-SNE and UMAP have no neighbourhoods to keep
DIMS = 50  # principal components that t-SNE and UMAP see
PERPLEXITY = 30.0


def choose_method(name: str = "auto") -> Method:
    """Return the method with this name; `auto` takes UMAP where it is installed, else t-SNE.

    Raises:
        SpaceError: there is no such method, or it is not installed.
    """
    installed = find_spec("umap") is not None
    if name == "auto":
        return "umap" if installed else "tsne"
    if name not in METHODS:
        raise SpaceError(f"there is no layout method {name!r}; take auto, {', '.join(METHODS)}")
    if name == "umap" and not installed:
        raise SpaceError("the layout method umap needs umap-learn: pip install 'vectalk[map]', or take tsne")
    return name


def fit_coordinates(vectors: np.ndarray, method: Method, seed: int) -> np.ndarray:
    """Return coordinates [A, 2] of vectors [A, D]; vectors that are near each other stay near.

    Args:
        vectors: [A, D] float32; their Euclidean distances count.
        method: how; fewer than 8 vectors are always projected on their first two principal components.
        seed: of the random choices.
    """
    components = _principal(vectors, seed)
    if method == "pca" or len(vectors) < FEWEST:
        return components[:, :2]
    # t-SNE and UMAP start from the principal components, so that the large structure is the same in each run.
    start = components[:, :2] / (float(components[:, 0].std()) or 1.0)
    start = (start + 1e-3 * np.random.default_rng(seed).standard_normal(start.shape)).astype(np.float32)
    if method == "umap":
        from umap import UMAP

        neighbors = min(15, len(vectors) - 1)
        model = UMAP(n_neighbors=neighbors, min_dist=0.1, init=10 * start, random_state=seed, n_jobs=1)
        return np.asarray(model.fit_transform(components), np.float32)
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    model = TSNE(perplexity=perplexity, init=1e-4 * start, random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(components), np.float32)


def _principal(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Return the first principal components of vectors [A, D], at least 2 and at most 50 columns."""
    from sklearn.decomposition import PCA

    count = min(DIMS, *vectors.shape)
    centered = vectors - vectors.mean(axis=0)
    if np.abs(centered).max() <= 1e-6 * np.abs(vectors).max():  # equal vectors, but for rounding
        centered[:] = 0.0
    elif count > 1:
        centered = PCA(count, svd_solver="auto", random_state=seed).fit_transform(centered)
    padding = max(0, 2 - centered.shape[1])
    return np.pad(centered[:, : max(count, 2)], ((0, 0), (0, padding))).astype(np.float32)
