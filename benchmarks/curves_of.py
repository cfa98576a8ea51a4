"""Curves of a trained run, kept as a result: walks between entities, shifts along concepts, users hardly known.

    python benchmarks/curves_of.py runs/movielens/own-all/run-base-llm-0 --name own
    python benchmarks/curves_of.py RUN --name own-told --kind interpolation --text-llm hf:LLM --pairs 50

The second command is the paper's comparison with a text-only LLM: it is told two titles and their shares ("something
that is 30 % X and 70 % Y"; condition `text_llm`), and also the facts of both (`told_llm`), at the points of the model.

What is finished is not measured again; `--fresh` starts anew.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import ROOT, write_result
from vectalk.files import read_json, read_jsonl

SHIFTED = ("spearman", "score_spearman", "target_span", "other_span", "ratio", "q_value")
KEPT = ("sc_middle", "sc_ends", "sc_walk", "bc_auc", "bc_ndcg", *SHIFTED)
SIZES = {
    "encoder": "minilm",
    "readback-texts": "2000",
    "pairs": "100",
    "entities": "40",
    "concepts": "5",
    "users": "60",
}
OPTIONAL = ("kind", "text-llm", "max-new-tokens", "max-reply-tokens")
Row = dict[str, Any]


def main() -> None:
    """Measure and write the result."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path, help="folder of the run")
    arguments.add_argument("--name", required=True, help="of the result: curves-NAME.json")
    for name, value in SIZES.items():
        arguments.add_argument(f"--{name}", default=value)
    arguments.add_argument("--kind", help="one of interpolation, shift, cold_start; all when omitted")
    arguments.add_argument("--text-llm", help="text-only LLM for interpolations: hf:FOLDER, or openai:MODEL")
    arguments.add_argument("--max-new-tokens", help="longest answer, in tokens")
    arguments.add_argument("--max-reply-tokens", help="longest answer of the text-only LLM, in tokens")
    arguments.add_argument("--out", type=Path, help="folder of the curves; RUN/curves when omitted")
    arguments.add_argument("--fresh", action="store_true")
    given = arguments.parse_args()
    measure(given.run, given.name, sizes(given), out=given.out, fresh=given.fresh)


def sizes(given: argparse.Namespace) -> list[str]:
    """Return the options of `vectalk curves` that say how much is measured, and how."""
    values = {name: getattr(given, name.replace("-", "_"), None) for name in (*SIZES, *OPTIONAL)}
    return [part for name, value in values.items() if value is not None for part in (f"--{name}", value)]


def measure(
    run: Path, name: str, options: list[str], *, steps: Sequence[str] = (), out: Path | None = None, fresh: bool = False
) -> None:
    """Measure the curves of a run, unless they are there, and write the result `curves-NAME`.

    Args:
        run: folder of the run.
        name: of the result.
        options: of `vectalk curves`.
        steps: commands that came before.
        out: folder of the curves; RUN/curves when omitted.
        fresh: measure again.
    """
    out = out or run / "curves"
    command = ["curves", str(run), *options, "--out", str(out)]
    if fresh or not (out / "curves.jsonl").is_file():
        subprocess.run([str(Path(sys.executable).with_name("vectalk")), *command], check=True)
    rows = read_jsonl(out / "curves.jsonl")
    card = read_json(out / "curves.json")
    path = write_result(
        f"curves-{name}",
        "python " + shown([f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        figures(rows, name),
        steps=[*steps, shown(["vectalk", *command])],
        curves=[{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows],
        sizes=next(iter(card["sizes"].values())),
        crossings=card["crossings"],
        notes=card["notes"],
    )
    print(f"written to {path}")


def shown(command: Sequence[str]) -> str:
    """Return a command as it is written down: paths in the repository are relative, and an LLM's folder is its name."""
    words = [f"hf:{Path(word[3:]).name}" if word.startswith("hf:/") else word for word in command]
    return shlex.join(words).replace(f"{ROOT}/", "")


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
