"""The whole way in Python: vectors in numpy, a space, questions, training, answers, points that are nobody.

    python examples/quickstart.py                          # a minute or two on one core; writes runs/quickstart
    python examples/quickstart.py --llm Qwen/Qwen3-0.6B    # the same with an LLM of your own

The vectors are made up so that this needs no file: put yours in the place of `cellar()`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import vectalk as vt

# What may be asked of a wine, and how its facts are put into words; see docs/suites.md.
SUITE = """
name: wines
attributes:
  wine:
    notes: {kind: list, order: common}
    region: {kind: category}
    decade: {kind: decade, column: vintage}
tasks:
  - name: summary
    slots: {wine: wine}
    about: wine
    states: [notes, region, decade]
    prompts: ["Describe {wine}.", "What is {wine} like?"]
    facts:
      - - "It tastes of {{ wine.notes | series }}."
        - "You taste {{ wine.notes | series }}."
      - - "A wine of {{ wine.region }} from the {{ wine.decade }}."
        - "It was grown in {{ wine.region }} in the {{ wine.decade }}."
"""
NOTES = ["cherry", "oak", "plum", "smoke", "citrus", "honey"]
REGIONS = ["the hills", "the coast", "the valley"]


def cellar(rows: int = 1500, dim: int = 24, seed: int = 0) -> tuple[np.ndarray, dict[str, list]]:
    """Return vectors [N, D] and a table; your own vectors and metadata go here."""
    rng = np.random.default_rng(seed)
    notes = rng.random((rows, len(NOTES))) < 0.35
    region, vintage = rng.integers(len(REGIONS), size=rows), rng.integers(1960, 2020, size=rows)
    facts = np.hstack([notes, np.eye(len(REGIONS))[region], ((vintage - 1990) / 20)[:, None]])
    vectors = facts @ rng.standard_normal((facts.shape[1], dim)) + 0.3 * rng.standard_normal((rows, dim))
    table = {
        "id": [f"w{n}" for n in range(rows)],
        "title": [f"Wine No. {n}" for n in range(rows)],
        "notes": [[note for note, has in zip(NOTES, row, strict=True) if has] for row in notes],
        "region": [REGIONS[n] for n in region],
        "vintage": [int(year) for year in vintage],
    }
    return vectors.astype(np.float32), table


def main() -> None:
    """Go the whole way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"), help="folder that must not exist yet")
    parser.add_argument("--llm", help="hub name or folder of an LLM; a tiny one is trained where it is omitted")
    parser.add_argument("--steps", type=int, default=400, help="of stage 2")
    given = parser.parse_args()

    # A space: vectors, ids, metadata, and a split that nobody can forget.
    vectors, table = cellar()
    wines = vt.VectorSpace.create("wine", vectors, table, metric="euclidean").save(given.out / "wines")
    print(wines, {split: len(wines.rows(split)) for split in ("train", "validation", "test")})

    # Questions and answers about the entities of the train split, written from the metadata.
    suite = vt.Suite.parse(SUITE, "wines")
    teacher = vt.FactsTeacher(suite, {"wine": wines})
    corpus = vt.build_corpus({"wine": wines}, suite, teacher, given.out / "corpus")
    example = next(corpus.examples("train"))
    print(f"{example.prompt}  ->  {example.target}")

    # Any decoder LLM does; with none at hand, a tiny one learns the texts of the corpus, without the vectors.
    llm = given.llm or str(vt.make_base_llm(corpus, given.out / "llm", hidden=64, layers=2, vocabulary=512, steps=150))

    # A tiny LLM: first the adapter alone, then the LLM with it. A pretrained LLM: the adapter and a low-rank update.
    tiny = {"adapter.width": 128, "stage1.steps": 100, "stage1.lr_adapter": 5e-3, "eval_every": 100}
    rates = {"stage2.lr_adapter": 3e-3, "stage2.lr_llm": 3e-3}
    settings = {"recipe": "pretrained"} if given.llm else {**tiny, **rates}
    vt.train(corpus, llm, given.out / "run", vt.TrainConfig.load(None, {**settings, "stage2.steps": given.steps}))

    # Ask about a wine that training never saw, a point half way to another, and one that is a move, not a place.
    elm = vt.ELM.from_pretrained(given.out / "run")
    wines = elm.spaces["wine"]
    a, b, c = (wines[int(row)] for row in wines.rows("test")[:3])
    points = {"unseen": a, "half way": wines.point(f"lerp({a.source}, {b.source}, 0.5)"), "moved": a + 0.5 * (b - c)}
    answers = elm.ask(["Describe {wine}."] * 3, [{"wine": point} for point in points.values()])
    for name, answer in zip(points, answers, strict=True):
        print(f"{name}: {answer.text}\n    {answer.support}; near {', '.join(n.title for n in answer.neighbors[:3])}")
    print(f"truth of the unseen one: {teacher.write(suite.task('summary'), {'wine': a.row}, 'truth')}")


if __name__ == "__main__":
    main()
