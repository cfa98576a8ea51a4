"""Curves of a trained run, kept as a result: walks between entities, shifts along concepts, users hardly known.

    python benchmarks/curves_of.py runs/movielens/own-all/run-base-llm-0 --name own

What is finished is not measured again; `--fresh` starts anew.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import ROOT, write_result

SHIFTED = ("spearman", "score_spearman", "target_span", "other_span", "ratio", "q_value")
KEPT = ("sc_middle", "sc_ends", "sc_walk", "bc_auc", "bc_ndcg", *SHIFTED)
Row = dict[str, Any]


def main() -> None:
    """Measure and write the result."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path, help="folder of the run")
    arguments.add_argument("--name", required=True, help="of the result: curves-NAME.json")
    arguments.add_argument("--encoder", default="minilm")
    arguments.add_argument("--readback-texts", default="2000")
    arguments.add_argument("--pairs", default="100")
    arguments.add_argument("--entities", default="40")
    arguments.add_argument("--concepts", default="5")
    arguments.add_argument("--users", default="60")
    arguments.add_argument("--fresh", action="store_true")
    given = arguments.parse_args()
    sizes = ("encoder", "readback_texts", "pairs", "entities", "concepts", "users")
    options = [part for name in sizes for part in (f"--{name.replace('_', '-')}", getattr(given, name))]
    out = given.run / "curves"
    command = ["curves", str(given.run), *options, "--out", str(out)]
    if given.fresh or not (out / "curves.jsonl").is_file():
        subprocess.run([str(Path(sys.executable).with_name("vectalk")), *command], check=True)
    rows = [json.loads(line) for line in (out / "curves.jsonl").read_text().splitlines()]
    card = json.loads((out / "curves.json").read_text())
    shown = shlex.join(["vectalk", *command]).replace(str(ROOT) + "/", "")
    path = write_result(
        f"curves-{given.name}",
        "python " + shlex.join(["benchmarks/curves_of.py", *sys.argv[1:]]).replace(str(ROOT) + "/", ""),
        figures(rows, given.name),
        steps=[shown],
        curves=[{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows],
        crossings=card["crossings"],
        notes=card["notes"],
    )
    print(f"written to {path}")


def figures(rows: list[Row], name: str) -> dict[str, float]:
    """Return the figures that a claim hangs on: the middle of walks, whole shifts over all concepts, cold starts."""
    found = {}
    for row in rows:
        whole = row["subject"] in (None, "all concepts")
        if not whole or row["value"] is None or not row["metric"].startswith(KEPT) or row["task"].startswith("_"):
            continue
        where = [f"curves_{name}", row["space"], row["metric"].replace("@", "_at_"), row["condition"]]
        if row["curve"] == "cold_start":
            where.append("all" if row["x"] is None else f"{row['x']:g}")
        key = "_".join(where)
        found[key] = row["value"]
        if row["condition"] == "elm" and row["low"] is not None:
            found[f"{key}_low"] = row["low"]
    for space in dict.fromkeys(row["space"] for row in rows):
        at = f"curves_{name}_{space}_spearman"
        if f"{at}_elm" in found and f"{at}_95_random" in found:
            found[f"{at}_above_chance"] = found[f"{at}_elm"] - found[f"{at}_95_random"]
    return found


if __name__ == "__main__":
    main()
