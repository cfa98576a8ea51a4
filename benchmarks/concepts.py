"""Concepts of real spaces with their statistics: genres and tags of films, tastes of users.

    python benchmarks/concepts.py --data DATA

Fitted on training entities, measured on test entities; p by permutation, q by Benjamini-Hochberg over each family,
beside random concepts. The spaces are those of benchmarks/movielens.py.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from common import ROOT, data_folder, parser, write_result
from movielens import WORK, Steps, make_spaces
from vectalk.space import VectorSpace

METHODS = ("logistic", "mean")


def main() -> None:
    """Fit all families and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--min", default="20", help="fewest training positives of a concept")
    arguments.add_argument("--min-tagged", default="10", help="the same of a tag: this data set has few")
    given = arguments.parse_args()
    data = data_folder(given.data)
    steps = Steps(data, False)
    own, foreign = (make_spaces(steps, data, WORK / which, which) for which in ("own", "foreign"))
    tags = ["--tags", str(data / "movielens-latest-small" / "tags.csv"), "--item-column", "movieId"]
    families: dict[str, tuple[Path, list[str], str]] = {
        "own_genres": (own["film"], ["--all", "genres"], given.min),
        "foreign_genres": (foreign["film"], ["--all", "genres"], given.min),
        "own_tags": (own["film"], tags, given.min_tagged),
    }
    columns = VectorSpace.load(own["user"]).column_names
    for column in ("liked_genres", "top_genres", "disliked_genres"):
        if column in columns:
            families[f"users_{column}"] = (own["user"], ["--all", column], given.min)
    commands, found = list(steps.commands), {}
    for name, (space, words, least) in families.items():
        command = [
            "concept",
            "fit",
            str(space),
            *words,
            "--min",
            least,
            "--prefix",
            f"{name}_",
            "--overwrite",
            "--json",
        ]
        commands.append(shlex.join(["vectalk", *command]).replace(str(data), "DATA").replace(f"{ROOT}/", ""))
        print(f"$ {commands[-1]}", file=sys.stderr, flush=True)
        vectalk = str(Path(sys.executable).with_name("vectalk"))
        done = subprocess.run([vectalk, *command], check=False, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            found[name] = {"failed": done.stderr.strip().splitlines()[-1]}
            continue
        found[name] = {"concepts": [_short(c, f"{name}_") for c in json.loads(done.stdout)]}
    path = write_result(
        "concepts", "python benchmarks/concepts.py --data DATA", figures(found), steps=commands, families=found
    )
    print(f"written to {path}")


def _short(card: dict[str, Any], prefix: str) -> dict[str, Any]:
    kept = ("positives", "test_positives", "auc", "low", "high", "p_value", "q_value", "random_auc", "stability")
    named = {"name": card["name"].removeprefix(prefix)}
    return {**named, **{k: round(card[k], 4) if isinstance(card[k], float) else card[k] for k in kept}}


def figures(found: dict[str, Any]) -> dict[str, float]:
    """Return for each family how many concepts there are, how many stand, and their mean AUC beside chance."""
    made: dict[str, float] = {}
    for name, family in found.items():
        known = [c for c in family.get("concepts", []) if c["auc"] is not None]
        if not known:
            continue
        made[f"concepts_{name}"] = len(known)
        made[f"concepts_{name}_auc"] = mean(c["auc"] for c in known)
        made[f"concepts_{name}_random_auc"] = mean(c["random_auc"] for c in known)
        made[f"concepts_{name}_stability"] = mean(c["stability"] for c in known)
        made[f"concepts_{name}_significant"] = sum(c["q_value"] <= 0.05 and c["auc"] > c["random_auc"] for c in known)
    return made


if __name__ == "__main__":
    main()
