"""A small world of films, invented: genres and years lie in the vectors, so that neighbours are of a kind."""

from typing import Any

import numpy as np

from vectalk.space import VectorSpace

NAMES = """Action Adventure Animation Children Comedy Crime Documentary Drama Fantasy Film-Noir Horror IMAX Musical
Mystery Romance Sci-Fi Thriller War Western"""
GENRES = tuple(NAMES.split())
COMMON = np.array([3, 2, 1, 1, 6, 2, 1, 8, 1, 0.5, 2, 0.5, 1, 1, 3, 2, 4, 1, 0.5])  # how often each genre comes


def film_space(rows: int = 300, *, figures: bool = True, seed: int = 0) -> VectorSpace:
    """Return invented films with titles, years and genres, and, with `figures`, what viewers made of them.

    Some titles name genres and decades of other films, which no text may be read as stating.
    """
    rng = np.random.default_rng(seed)
    genres = [
        sorted(rng.choice(GENRES, rng.integers(1, 5), replace=False, p=COMMON / COMMON.sum()).tolist())
        for _ in range(rows)
    ]
    years = rng.integers(1931, 2016, rows)
    marks = np.array([[name in held for name in GENRES] for held in genres], float)
    vectors = np.hstack([2 * marks, ((years - 1973) / 25)[:, None]]) + 0.3 * rng.standard_normal((rows, 20))
    columns: dict[str, Any] = {
        "id": [str(n) for n in range(rows)],
        "title": [f"{('Comedy', 'Drama', 'Night')[n % 3]} {n} of the 1890s ({year})" for n, year in enumerate(years)],
        "genres": genres,
        "year": [int(year) for year in years],
    }
    if figures:
        columns |= {
            "n_ratings": [int(n) for n in rng.integers(1, 1000, rows)],
            "mean_rating": [float(x) for x in rng.uniform(1, 5, rows)],
            "rating_sd": [float(x) for x in rng.uniform(0.3, 1.5, rows)],
        }
    return VectorSpace.create("film", vectors.astype(np.float32), columns, metric="euclidean")


def wine_space(rows: int = 240, seed: int = 0) -> VectorSpace:
    """Return wines whose columns are as odd as real ones: nulls, lists, flags, numbers as text, ids, free text."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((rows, 8)).astype(np.float32)
    regions, grapes = ("Rhône", "Mosel", "St. Emilion; Grand Cru"), ("Syrah", "Merlot", "Pinot Noir", "Pinot Gris")
    columns: dict[str, Any] = {
        "id": [f"w{n}" for n in range(rows)],
        "title": [f"Wine {n}" if n % 5 else None for n in range(rows)],
        "region": [regions[int(np.argmax(z[n, :3]))] if n % 7 else None for n in range(rows)],
        "grapes": [[g for k, g in enumerate(grapes) if z[n, k] > 0.3] for n in range(rows)],
        "vintage": [int(1990 + 8 * z[n, 6]) for n in range(rows)],
        "priceEUR": [float(np.exp(3 + z[n, 7])) if n % 11 else float("nan") for n in range(rows)],
        "retail price": [float(np.exp(2 + z[n, 5])) for n in range(rows)],
        "stars": [int(np.clip(3 + z[n, 0], 1, 5)) for n in range(rows)],
        "organic": [bool(z[n, 1] > 0) for n in range(rows)],
        "points": [str(int(85 + 3 * z[n, 2])) for n in range(rows)],
        "sku_id": list(range(rows)),
        "notes": [f"a long text about wine {n}" for n in range(rows)],
        "currency": ["EUR"] * rows,
        "awards": [None] * (rows - 1) + ["gold"],
        "tags": ["red|dry" if n % 2 else "white|dry" for n in range(rows)],
        "profile": [[0.1, 0.2]] * rows,
    }
    return VectorSpace.create("wine", z, columns, metric="euclidean")
