"""benchmarks/paper.md from benchmarks/results/*.json: the paper's experiments, each figure beside its controls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Result = dict[str, Any]
HEAD = """# The paper's experiments

Tennenholtz et al., *Demystifying Embedding Spaces using Large Language Models* (ICLR 2024, arXiv 2310.04475), on data
that fits on two cores. Made by `python benchmarks/paper.py` from `benchmarks/results/*.json`; no figure is typed.

**Read with care.** MovieLens latest-small has 671 users and changes over time; GroupLens (F. M. Harper and J. A.
Konstan, *The MovieLens Datasets: History and Context*, 2015) say that it is for development and education and that
results on it must not be taken for research results. Base LLMs here have a few million parameters, and texts come from
a grammar that spells facts, not from a large LLM. What is compared is the model with its controls and rivals on the
same entities, not with the paper: its figures come from MovieLens 25M, PaLM 2 and other text encoders, and raw cosines
of different encoders do not compare. Intervals are 95 % bootstraps over test entities of one training run.
"""
NOT_RUN = """## Not run

- *Human raters* (the paper: about 100 a task). `vectalk judge sheet EVALUATION --out DIR` writes the blind sheet with
  the paper's three questions, `vectalk judge score` its figures; nobody was asked. `vectalk judge llm` asks an LLM.
- *A text-only LLM that is told the titles* (the paper's baseline). `--text-llm` of `vectalk evaluate` and `vectalk
  curves`; no LLM that knows films was at hand.
- *A base LLM of the paper's size*, and targets written by a large LLM.
"""


def page(results: Path) -> str:
    """Return the page of the results in a folder."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    parts = [HEAD, claims(found), tasks(found), foreign(found)]
    for name, result in found.items():
        if name.startswith("curves-"):
            parts += [walks(name, result), shifts(name, result), cold_start(name, result)]
    parts += [concepts(found.get("concepts")), support(found.get("support")), semantic(found.get("semantic"))]
    return "\n".join(part for part in [*parts, NOT_RUN] if part)


# ---- what must hold


def claims(found: dict[str, Result]) -> str:
    """Return what was to be shown, and whether it was."""
    figures = {key: value for result in found.values() for key, value in result["figures"].items()}
    names = [name.removeprefix("curves-") for name in found if name.startswith("curves-")]
    lines = []
    for name in names:
        for space in dict.fromkeys(row["space"] for row in found[f"curves-{name}"]["curves"]):
            at = f"curves_{name}_{space}"
            wanted = [
                (
                    f"{at}_sc_middle_minus_copy_text_elm_low",
                    0.0,
                    "walks: SC in the middle above the nearest text, lower bound",
                ),
                (f"{at}_spearman_elm", 0.6, "shifts: Spearman of step and statement, mean over entities and concepts"),
                (
                    f"{at}_spearman_above_chance",
                    0.0,
                    "shifts: the same less what 95 % of random concepts do to any value",
                ),
                (f"{at}_ratio_elm", 3.0, "shifts: change of the target over that of other values"),
            ]
            lines += [(f"{name}, {space}: {what}", figures.get(key), bar) for key, bar, what in wanted]
    kinds = (("shuffled", 0.95), ("shift", 0.95), ("gaussian", 0.90))
    lines += [
        (f"support: AUROC, {kind}, worst space", figures.get(f"support_auroc_{kind}"), bar) for kind, bar in kinds
    ]
    shown = [
        [what, f"{bar:g}", "not measured" if value is None else f"{value:.3f}", _met(value, bar)]
        for what, value, bar in lines
    ]
    return "## What was to be shown\n\n" + _table(["", "at least", "found", ""], shown)


def _met(value: float | None, bar: float) -> str:
    return "" if value is None else "met" if value >= bar else "**not met**"


# ---- experiment 1


def tasks(found: dict[str, Result]) -> str:
    """Return the table of all tasks, as the paper's table 1."""
    names = [n for n in found if n.startswith("movielens-own") and "tables" in found[n]]
    if not names:
        return ""
    name = max(names, key=lambda n: len({row["task"] for row in found[n]["tables"][0]}))
    rows = found[name]["tables"][0]
    columns = [("sc", c) for c in ("elm", "shuffled", "copy_text", "probe_text", "own_text")]
    columns += [("bc_auc", c) for c in ("elm", "shuffled", "copy_text", "factors")] + [("claims_precision", "elm")]
    at = {(r["task"], r["metric"], r["condition"]): r for r in rows}
    shown = []
    for task in dict.fromkeys(row["task"] for row in rows):
        if any((task, metric, "elm") in at for metric in ("sc", "bc_auc", "claims_precision")):
            shown.append([task, *(_cell(at.get((task, *column)), column[1] == "elm") for column in columns)])
    heads = ["task", *(f"{m} {c}" for m, c in columns)]
    labels = {"sc": "SC", "bc_auc": "BC", "claims_precision": "true", "copy_text": "copy", "probe_text": "probe"}
    heads = [" ".join(labels.get(word, word) for word in head.split()) for head in heads]
    return (
        f"## Tasks (the paper's table 1)\n\nOur own factors of films and users, `{found[name]['command']}`. The paper "
        "reports SC of 0.86 to 0.96 and BC of 0.76 to 0.96 over its tasks, with encoders and a ranker of its own; here "
        "SC is a cosine after a read-back by ridge regression, which lowers all columns (see `own_text`), and BC is "
        "an AUC (`factors` is its ceiling).\n\n" + _table(heads, shown)
    )


def foreign(found: dict[str, Result]) -> str:
    """Return recovery on vectors that others made."""
    result = found.get("movielens-foreign-small")
    if result is None:
        return ""
    keys = [
        key for key in ("recovery_genres", "recovery_decade", "sc_minus_probe_text_low") if key in result["figures"]
    ]
    shown = [[f"`{key}`", f"{result['figures'][key]:.3f}"] for key in keys]
    return (
        f"## Vectors that others made\n\n`{result['command']}`, {result['seeds']} seed(s); recovery is 0 for a "
        "constant guess and 1 for a probe of the vector. The paper has no such figure.\n\n" + _table(["", ""], shown)
    )


# ---- experiments 2 to 4


def walks(name: str, result: Result) -> str:
    """Return what walks between entities show."""
    rows = [r for r in result["curves"] if r["curve"] == "interpolation"]
    parts = []
    for space in dict.fromkeys(r["space"] for r in rows):
        mine = [r for r in rows if r["space"] == space]
        lines = [
            [condition, *(_cell(_at(mine, "sc", condition, x)) for x in (0, 0.3, 0.5, 0.7, 1)), _cell(middle, True)]
            for condition in ("elm", "copy_text", "text_llm")
            if (middle := _at(mine, "sc_middle", condition, 0.5)) is not None
        ]
        gap = _at(mine, "sc_middle_minus_copy_text", "elm", 0.5)
        parts.append(
            f"*{space}* (SC at alpha; {gap['n'] if gap else 0} pairs; difference to the nearest text in the middle "
            f"{_cell(gap, True)}):\n\n" + _table(["", "0", "0.3", "0.5", "0.7", "1", "0.3 to 0.7"], lines)
        )
    return _section(f"Between two entities ({name})", result, parts)


def shifts(name: str, result: Result) -> str:
    """Return what shifts along concepts show."""
    rows = [r for r in result["curves"] if r["curve"] == "shift"]
    metrics = ("spearman", "score_spearman", "target_span", "other_span", "ratio", "q_value")
    parts = []
    for space in dict.fromkeys(r["space"] for r in rows):
        mine = [r for r in rows if r["space"] == space]
        lines = []
        for subject in dict.fromkeys(r["subject"] for r in mine):
            for condition in ("elm", "probe", "random"):
                of = [r for r in mine if r["subject"] == subject]
                cells = [_at(of, metric, condition, 0) for metric in metrics]
                if cells[0] is not None:
                    lines.append([subject, condition, *(_cell(cell, condition == "elm") for cell in cells)])
        chance = next((r for r in mine if r["metric"] == "spearman_95"), None)
        if chance:
            lines.append(["95 % of random concepts, any value", "", f"{chance['value']:.2f}", *"-----"])
        heads = ["concept", "", "Spearman", "of text's score", "target -4 to 4 sd", "other values", "ratio", "q"]
        parts.append(f"*{space}*:\n\n" + _table(heads, lines))
    return _section(f"Along concepts ({name})", result, parts)


def cold_start(name: str, result: Result) -> str:
    """Return how profiles gain with ratings, and where they pass popularity."""
    rows = [r for r in result["curves"] if r["curve"] == "cold_start"]
    if not rows:
        return ""
    xs = list(dict.fromkeys(r["x"] for r in rows))
    parts = []
    for metric in ("sc", "bc_auc", "bc_ndcg@10"):
        lines = [
            [condition, *(_cell(_at(rows, metric, condition, x)) for x in xs)]
            for condition in ("elm", "copy_text", "vector", "popularity")
            if _at(rows, metric, condition, xs[0]) is not None
        ]
        if lines:
            heads = ["ratings", *("all" if x is None else f"{x:g}" for x in xs)]
            parts.append(f"*{metric}*:\n\n" + _table(heads, lines))
    for crossing in result["crossings"]:
        from_on = "never" if crossing["above"] is None else f"from {crossing['above']} ratings on"
        surely = "never" if crossing["surely"] is None else f"from {crossing['surely']}"
        parts.append(f"- {crossing['metric']}, {crossing['condition']}: above popularity {from_on}; surely {surely}.")
    return _section(f"Users hardly known ({name})", result, parts)


# ---- what they rest on


def concepts(result: Result | None) -> str:
    """Return the statistics of the concepts."""
    if result is None:
        return ""
    parts = []
    for name, family in result["families"].items():
        if "failed" in family:
            parts.append(f"*{name}*: not fitted: {family['failed']}")
            continue
        lines = [
            [
                c["name"],
                c["positives"],
                "-" if c["auc"] is None else f"{c['auc']:.2f} [{c['low']:.2f}, {c['high']:.2f}]",
                *("-" if c[k] is None else f"{c[k]:.2g}" for k in ("random_auc", "q_value", "stability")),
            ]
            for c in sorted(family["concepts"], key=lambda c: -(c["auc"] or 0))
        ]
        parts.append(f"*{name}*:\n\n" + _table(["concept", "positives", "AUC", "random", "q", "stability"], lines))
    return _section("Concepts and their statistics", result, parts)


def support(result: Result | None) -> str:
    """Return how well support tells vectors that are nobody."""
    if result is None:
        return ""
    lines = [[f"`{k}`", f"{v:.3f}"] for k, v in result["figures"].items() if "auroc" in k]
    return _section("Support", result, [_table(["", "AUROC"], lines)])


def semantic(result: Result | None) -> str:
    """Return what a semantic space gave."""
    if result is None:
        return ""
    lines = [[f"`{k}`", f"{v:.3f}"] for k, v in result["figures"].items() if k.startswith(("nsc", "sc_"))]
    return _section("A semantic space", result, [_table(["", ""], lines)])


# ---- tables


def _section(title: str, result: Result, parts: Sequence[str]) -> str:
    return f"## {title}\n\n`{result['command']}`\n\n" + "\n".join(parts) + "\n" if parts else ""


def _at(rows: Sequence[Row], metric: str, condition: str, x: float | None) -> Row | None:
    return next((r for r in rows if (r["metric"], r["condition"], r["x"]) == (metric, condition, x)), None)


def _cell(row: Row | None, interval: bool = False) -> str:
    if row is None or row["value"] is None:
        return "-"
    known = interval and row["low"] is not None
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if known else f"{row['value']:.2f}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    written = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in written)
