"""benchmarks/paper.md from benchmarks/results/*.json: the paper's experiments, each figure beside its controls."""

from __future__ import annotations

import json
from pathlib import Path

from paper_curves import cold_start, shifts, walks
from paper_reasons import short
from paper_tables import GAP, SPACES, TOLD, Result, Row, cell, markdown_table, section

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
FORMER = """
The models of this page learned the sentences that the suites `movies` and `users` had before they were rewritten. The
facts are the same, the words are not, so the figures of today's sentences will differ.
"""
CLAIMS = (  # curve, what, key, bar
    (
        "interpolation",
        "walks: SC in the middle above the nearest text, lower bound",
        f"{GAP}_elm_low",
        0.0,
    ),
    ("shift", "shifts: Spearman of step and statement, mean over entities and concepts", "spearman_elm", 0.6),
    ("shift", "shifts: Spearman of step and score of the text, the same mean", "score_spearman_elm", 0.6),
    (
        "shift",
        "shifts: of step and statement, less what 95 % of random concepts do to any value",
        "spearman_above_chance",
        0.0,
    ),
    ("shift", "shifts: change of the target over that of other values", "ratio_elm", 3.0),
)
NOT_RUN = """## Not run

- *Human raters* (the paper: about 100 a task). `vectalk judge sheet EVALUATION --out DIR` writes the blind sheet with
  the paper's three questions, `vectalk judge score` its figures; nobody was asked. `vectalk judge llm` asks an LLM.
- *A text-only LLM that knows films and is told the titles* (the paper's baseline). `--text-llm` of `vectalk evaluate`
  and `vectalk curves`; only SmolLM2-135M, which knows few films, was at hand (see "Between two entities").
- *A base LLM of the paper's size*, and targets written by a large LLM.
"""


def page(results: Path) -> str:
    """Return the page of the results in a folder."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    former = any(result.get("texts") == "former sentences" for result in found.values())
    parts = [HEAD + FORMER if former else HEAD, claims(found), short(found), tasks(found), seeds(found)]
    curved = {name: found[f"curves-{name}"] for name in SPACES if f"curves-{name}" in found}
    for show in (walks, shifts, cold_start):
        parts += [show(name, result) for name, result in curved.items()]
    if (told := found.get(f"curves-{TOLD}")) is not None:
        parts.append(walks(TOLD, told))
    parts += [concepts(found.get("concepts")), support(found.get("support")), semantic(found.get("semantic"))]
    return "\n".join(part for part in [*parts, NOT_RUN] if part)


# ---- what must hold


def claims(found: dict[str, Result]) -> str:
    """Return what was to be shown, and whether it was."""
    figures = {key: value for result in found.values() for key, value in result["figures"].items()}
    lines: list[tuple[str, float | None, float]] = []
    for name in SPACES:
        rows = found.get(f"curves-{name}", {"curves": []})["curves"]
        for space in dict.fromkeys(row["space"] for row in rows):
            measured = {row["curve"] for row in rows if row["space"] == space}
            for curve, what, key, bar in CLAIMS:
                if curve in measured:
                    lines.append((f"{SPACES[name]}, {space}: {what}", figures.get(f"curves_{name}_{space}_{key}"), bar))
            if "cold_start" in measured:
                first, last = (figures.get(f"curves_{name}_{space}_bc_auc_elm_{x}") for x in ("1", "all"))
                rise = None if first is None or last is None else last - first
                lines.append((f"{SPACES[name]}, {space}: users hardly known: rise of AUC, 1 rating to all", rise, 0.0))
    kinds = (("shuffled", 0.95), ("shift", 0.95), ("gaussian", 0.90))
    lines += [(f"support: AUROC, {kind}, worst space", figures.get(f"support_auroc_{kind}"), b) for kind, b in kinds]
    shown = [
        [what, f"{bar:g}", "not measured" if value is None else f"{value:.3f}", _met(value, bar)]
        for what, value, bar in lines
    ]
    return "## What was to be shown\n\n" + markdown_table(["", "at least", "found", ""], shown)


def _met(value: float | None, bar: float) -> str:
    return "" if value is None else "met" if value >= bar else "**not met**"


# ---- experiment 1


def tasks(found: dict[str, Result]) -> str:
    """Return the tables of all tasks, as the paper's table 1, for each space."""
    parts = []
    for space, what in SPACES.items():
        names = [n for n in found if n.startswith(f"movielens-{space}-") and n.endswith("-all")]
        parts += [_tasks(found[name], what) for name in names]
    head = """## Tasks (the paper's table 1)

The paper reports SC of 0.86 to 0.96 and BC of 0.76 to 0.96 over its tasks, with encoders and a ranker of its own. Here
SC is a cosine after a read-back by ridge regression, which lowers all columns (see `own_text`), except where the
encoder made the space itself, and BC is an AUC (`factors` is its ceiling). Means are over the tasks
that have all of a figure's columns. Results of fewer tasks and of other LLMs, of earlier runs, stand in
[README.md](README.md).

"""
    return head + "\n".join(parts) if parts else ""


def _tasks(result: Result, what: str) -> str:
    rows = result["tables"][0]
    wanted = [("sc", c) for c in ("elm", "shuffled", "copy_text", "probe_text", "own_text")]
    wanted += [("bc_auc", c) for c in ("elm", "shuffled", "copy_text", "factors")]
    wanted += [("recovery", "elm"), ("recovery", "copy_text"), ("claims_precision", "elm")]
    at = {(r["task"], r["metric"], r["condition"]): r for r in rows}
    columns = [c for c in wanted if any((task, *c) in at for task in {r["task"] for r in rows})]
    shown = []
    for task in dict.fromkeys(row["task"] for row in rows):
        if any((task, metric, "elm") in at for metric in ("sc", "bc_auc", "claims_precision")):
            shown.append([task, *(cell(at.get((task, *column)), column[1] == "elm") for column in columns)])
    shown.append(["*mean*", *(cell(_mean(at, metric, condition, columns)) for metric, condition in columns)])
    labels = {"sc": "SC", "bc_auc": "BC", "claims_precision": "true", "copy_text": "copy", "probe_text": "probe"}
    heads = ["task", *(" ".join(labels.get(word, word) for word in column) for column in columns)]
    return f"*{what}*, `{result['command']}`:\n\n" + markdown_table(heads, shown)


def seeds(found: dict[str, Result]) -> str:
    """Return recovery on vectors that others made, over several seeds of training."""
    result = found.get("movielens-foreign-small", {"figures": {}})
    keys = (
        "recovery_genres",
        "recovery_genres_low",
        "recovery_decade",
        "recovery_decade_low",
        "sc_minus_probe_text_low",
    )
    shown = [[f"`{key}`", f"{result['figures'][key]:.3f}"] for key in keys if key in result["figures"]]
    if not shown:
        return ""
    return (
        f"*vectors of others, {result['seeds']} seed(s)*, `{result['command']}`: a base LLM from nothing, fewer tasks, "
        "more of each. Recovery is 0 for a constant guess and 1 for a probe of the vector; lower bounds are means over "
        "the seeds.\n\n" + markdown_table(["", ""], shown)
    )


def _mean(at: dict[tuple[str, str, str], Row], metric: str, condition: str, columns: list[tuple[str, str]]) -> Row:
    """Return the mean over the tasks where a metric has all the conditions that are shown."""
    beside = [c for m, c in columns if m == metric]
    names = dict.fromkeys(task for task, m, _ in at if m == metric)
    values = [[at.get((task, metric, c), {"value": None})["value"] for c in beside] for task in names]
    whole = [each[beside.index(condition)] for each in values if None not in each]
    return {"value": sum(whole) / len(whole) if whole else None, "low": None, "high": None}


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
        parts.append(
            f"*{name}*:\n\n" + markdown_table(["concept", "positives", "AUC", "random", "q", "stability"], lines)
        )
    return section("Concepts and their statistics", result, parts)


def support(result: Result | None) -> str:
    """Return how well support tells vectors that are nobody, and what it says of blends."""
    if result is None:
        return ""
    figures = result["figures"]
    known = [name for name in ("items", "users", "foreign", "semantic") if f"support_{name}_alarms_real" in figures]

    def line(key: str) -> list[str]:
        return [f"{figures[f'support_{name}_{key}']:.3f}" for name in known]

    told = [(f"AUROC, {kind}", f"auroc_{kind}") for kind in ("shuffled", "shift", "gaussian")]
    told += [("share of real test vectors called far", "alarms_real"), ("called central", "central_real")]
    blends = [
        (f"mean of {count}: {verdict}", f"blend_{count}_{verdict}")
        for count in (2, 5, 50)
        for verdict in ("real", "far", "central")
    ]
    return section(
        "Support",
        result,
        [
            "Can the far-alarm tell real test vectors from vectors that are nobody? And what is said of blends, means "
            "of a few random test vectors, which lie among the real ones and are not one of them:\n",
            markdown_table(["", *known], [[what, *line(key)] for what, key in [*told, *blends]]),
        ],
    )


def semantic(result: Result | None) -> str:
    """Return what a semantic space gave."""
    if result is None:
        return ""
    lines = [[f"`{k}`", f"{v:.3f}"] for k, v in result["figures"].items() if k.startswith(("nsc", "sc_"))]
    return section("A semantic space", result, [markdown_table(["", ""], lines)])
