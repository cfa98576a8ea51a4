"""Invent a record shop, and what its recommender would have: vectors made of who played what, and a table beside them.

    python examples/records/make.py --out shop

Listeners with tastes (styles, an era, a tempo, their own city) play albums; the counts are factorised. The vectors thus
know the albums by behaviour alone, while the table knows them by fact, as in a real shop. What is in the folder:

    album_vectors.parquet   album_id, vector (lists of 32 floats); some albums of it are not in the table
    albums.csv              album_id, title, artist, styles, city, year, tempo, plays, tracks, price; with gaps
    listeners.parquet       listener_id, vector, born, home, styles, plays: vectors and facts in one file

The same seed gives the same shop. All of it is invented; nothing is anybody's.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse.linalg import svds

ALBUMS, ARTISTS, LISTENERS, DIM = 2_600, 520, 3_000, 32
# Style: usual tempo in beats a minute, and what it is mixed with.
STYLES: dict[str, tuple[int, list[str]]] = {
    "Jazz": (112, ["Soul", "Blues", "Bossa Nova"]),
    "Soul": (100, ["Jazz", "Funk", "Gospel"]),
    "Funk": (108, ["Soul", "Hip-Hop", "Disco"]),
    "Blues": (88, ["Jazz", "Rock", "Gospel"]),
    "Gospel": (84, ["Soul", "Blues"]),
    "Rock": (126, ["Blues", "Folk", "Punk"]),
    "Punk": (168, ["Rock", "Reggae"]),
    "Folk": (94, ["Rock", "Bossa Nova"]),
    "Reggae": (76, ["Punk", "Hip-Hop"]),
    "Disco": (120, ["Funk", "Electronic"]),
    "Hip-Hop": (92, ["Funk", "Electronic", "Reggae"]),
    "Electronic": (128, ["Disco", "Ambient", "Hip-Hop"]),
    "Ambient": (64, ["Electronic", "Folk"]),
    "Bossa Nova": (98, ["Jazz", "Folk"]),
}
CITIES: dict[str, list[str]] = {
    "Detroit": ["Soul", "Electronic", "Funk"],
    "Lagos": ["Funk", "Jazz"],
    "Berlin": ["Electronic", "Ambient", "Punk"],
    "Kingston": ["Reggae"],
    "São Paulo": ["Bossa Nova", "Jazz", "Disco"],
    "Reykjavík": ["Ambient", "Folk"],
    "Memphis": ["Blues", "Soul", "Gospel"],
    "Bristol": ["Hip-Hop", "Punk", "Reggae", "Rock"],
}


def _words(text: str) -> list[str]:
    return text.split("|")


ADJECTIVES = _words("Blue|Slow|Second|Paper|Silent|Northern|Golden|Little|Hollow|Electric|Borrowed|Distant|Late|Plain")
NOUNS = _words("Harbour|Morning|Letter|Garden|Engine|River|Winter|Mirror|Avenue|Sparrow|Ocean|Lantern|Signal|Orchard")
PHRASES = _words(
    "Songs for|Live at|Leaving|Return to|Letters from|Nights in|Above|Don't Forget|Até|Under the|Beyond|Ways to"
)
FIRST = _words("Ada|Bo|Clara|Dag|Elif|Femi|Gita|Hugo|Inês|Jun|Kofi|Léa|Milo|Noor|Oskar|Pía|Rui|Sunniva|Tariq|Uma")
LAST = _words("Okafor|Brandt|Lima|Þórsson|Reyes|Vance|Mbeki|Laurent|Ito|Quist|Novák|Marsh|Duarte|O'Hara|Engström")
TABLE = _words("album_id|title|artist|styles|city|year|tempo|plays|tracks|price")


def main() -> None:
    """Make the shop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("shop"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    albums, listeners = make_albums(rng), make_listeners(rng)
    played = play(albums, listeners, rng)
    album_vectors, listener_vectors = factorise(played)
    write(given.out, albums, listeners, played, album_vectors, listener_vectors, rng)
    print(f"{given.out}: {ALBUMS} albums and {LISTENERS} listeners, {DIM} dimensions, {int((played > 0).sum())} pairs")


def make_albums(rng: np.random.Generator) -> dict[str, Any]:
    """Draw artists, each with a city, a style and a time, and their albums."""
    styles, cities = list(STYLES), list(CITIES)
    city = rng.integers(len(cities), size=ARTISTS)
    local = [CITIES[cities[c]] for c in city]
    main = [rng.choice(own) if rng.random() < 0.75 else rng.choice(styles) for own in local]
    debut = rng.integers(1956, 2016, size=ARTISTS)
    artist = np.sort(rng.integers(ARTISTS, size=ALBUMS))
    names = rng.permutation([f"{first} {last}" for first in FIRST for last in LAST] + [f"The {n}s" for n in FIRST * 12])
    has = np.zeros((ALBUMS, len(styles)), bool)
    for album, who in enumerate(artist):
        style = main[who] if rng.random() < 0.75 else rng.choice(styles)  # not all that an artist does is alike
        has[album, styles.index(style)] = True
        for other in STYLES[style][1]:
            has[album, styles.index(other)] |= rng.random() < 0.3
    usual = np.array([STYLES[main[who]][0] for who in artist])
    return {
        "artist": [str(names[who % len(names)]) for who in artist],
        "title": _titles(rng),
        "has": has,
        "city": city[artist],
        "year": np.minimum(debut[artist] + rng.geometric(0.14, ALBUMS) - 1, 2024),
        "tempo": np.round(usual * np.exp(rng.normal(0, 0.13, ALBUMS))).astype(int),
        "fame": rng.normal(0, 1, ARTISTS)[artist] * 0.7 + rng.normal(0, 0.7, ALBUMS),
    }


def _titles(rng: np.random.Generator) -> list[str]:
    things = [f"{a} {n}" for a in ADJECTIVES for n in NOUNS] + [*NOUNS, *CITIES]
    titles = [*things, *(f"{phrase} {thing}" for phrase in PHRASES for thing in things)]
    chosen = [str(title) for title in rng.permutation(titles)]
    # Editions and quotation marks, as catalogues have them.
    more = [f'{title} ("{tail}")' for tail in ("Live", "Remastered, Vol. 2") for title in chosen]
    return [chosen[i] if rng.random() < 0.93 else more[i] for i in range(ALBUMS)]


def make_listeners(rng: np.random.Generator) -> dict[str, Any]:
    """Draw listeners: a few styles that they love, the music of their youth, a tempo, a home."""
    born = rng.integers(1945, 2006, size=LISTENERS)
    return {
        "born": born,
        "taste": rng.gamma(0.25, 1.0, (LISTENERS, len(STYLES))),
        "home": rng.integers(len(CITIES), size=LISTENERS),
        "era": np.minimum(born + rng.normal(20, 7, LISTENERS), 2024),
        "tempo": rng.normal(0.0, 0.25, LISTENERS),
        "activity": np.clip(np.exp(rng.normal(4.0, 0.7, LISTENERS)), 15, 400).astype(int),
    }


def play(albums: dict[str, Any], listeners: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Return how often each listener [U] played each album [I]."""
    share = albums["has"] / albums["has"].sum(1, keepdims=True)
    likes = 4.5 * np.minimum(listeners["taste"] / listeners["taste"].max(1, keepdims=True) @ share.T, 0.8)
    likes += 1.5 * (listeners["home"][:, None] == albums["city"][None])
    likes -= 0.5 * np.minimum(np.square((albums["year"][None] - listeners["era"][:, None]) / 9.0), 8.0)
    pace = np.log(albums["tempo"] / np.median(albums["tempo"]))
    likes -= np.minimum(np.square((pace[None] - listeners["tempo"][:, None]) / 0.22), 8.0) * 0.5
    likes += 0.8 * albums["fame"][None]
    # The best of likes and chance: a draw without replacement from the softmax of likes.
    drawn = np.argsort(-(likes + rng.gumbel(size=likes.shape)), axis=1)
    played = np.zeros(likes.shape, np.float32)
    for row, count in enumerate(listeners["activity"]):
        picked = drawn[row, :count]
        played[row, picked] = 1 + rng.poisson(np.exp(0.35 * np.clip(likes[row, picked], -4, 6)))
    return played


def factorise(played: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of albums [I, D] and listeners [U, D]: a truncated SVD of damped counts."""
    # Rare albums weigh more, since everybody plays what everybody plays.
    damped = np.log1p(played) * np.log(len(played) / np.maximum((played > 0).sum(0), 1))
    left, strength, right = svds(damped, DIM, v0=np.ones(min(damped.shape)))
    sign = np.sign(right[np.arange(DIM), np.abs(right).argmax(1)])  # an SVD leaves the signs open
    root = np.sqrt(strength)[::-1]
    return (right.T * sign)[:, ::-1] * root, (left * sign)[:, ::-1] * root


def write(
    out: Path,
    albums: dict[str, Any],
    listeners: dict[str, Any],
    played: np.ndarray,
    album_vectors: np.ndarray,
    listener_vectors: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Write the files, with the gaps that tables have."""
    out.mkdir(parents=True, exist_ok=True)
    styles, cities = np.array(list(STYLES)), list(CITIES)
    ids = rng.permutation(np.arange(10_000, 10_000 + ALBUMS))
    vectors = pa.array(list(album_vectors.astype(np.float32)), pa.list_(pa.float32()))
    pq.write_table(pa.table({"album_id": ids, "vector": vectors}), out / "album_vectors.parquet")
    gap = {name: rng.random(ALBUMS) < share for name, share in {"styles": 0.02, "city": 0.02, "year": 0.03}.items()}
    gap["tempo"], gap["row"] = rng.random(ALBUMS) < 0.07, rng.random(ALBUMS) < 0.005
    plays, tracks = played.sum(0).astype(int), rng.integers(6, 17, ALBUMS)
    price = np.round(np.exp(rng.normal(2.8, 0.4, ALBUMS)), 2)
    with (out / "albums.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(TABLE)
        for i in rng.permutation(np.flatnonzero(~gap["row"])):
            known = {
                "styles": "|".join(sorted(styles[albums["has"][i]])),
                "city": cities[albums["city"][i]],
                "year": albums["year"][i],
                "tempo": albums["tempo"][i],
            }
            absent = {"styles": "n/a", "city": "n/a", "year": "", "tempo": ""}
            values = [absent[name] if gap[name][i] else value for name, value in known.items()]
            table.writerow([ids[i], albums["title"][i], albums["artist"][i], *values, plays[i], tracks[i], price[i]])
    # What a listener plays more than others do, by share of plays.
    heard = played @ albums["has"]
    lift = heard / heard.sum(1, keepdims=True) - heard.sum(0) / heard.sum()
    best = np.argsort(-lift, axis=1, kind="stable")[:, :3]
    loved = [[str(styles[s]) for s in row if lift[u, s] > 0.05] for u, row in enumerate(best)]
    table = pa.table(
        {
            "listener_id": [f"L{n:04d}" for n in range(LISTENERS)],
            "vector": pa.array(list(listener_vectors.astype(np.float32)), pa.list_(pa.float32())),
            "born": pa.array(listeners["born"], mask=rng.random(LISTENERS) < 0.05),
            "home": [cities[c] for c in listeners["home"]],
            "styles": pa.array(loved, pa.list_(pa.string())),
            "plays": played.sum(1).astype(int),
        }
    )
    pq.write_table(table, out / "listeners.parquet")


if __name__ == "__main__":
    main()
