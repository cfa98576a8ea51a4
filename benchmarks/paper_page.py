"""benchmarks/paper.md from benchmarks/results/*.json: the paper's experiments, each figure beside its controls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vectalk.evaluation import table

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
SPACES = {"own": "own factors", "foreign": "vectors of others", "semantic": "vectors of paragraphs"}
GAP = "sc_middle_minus_copy_text"
CLAIMS = (  # curve, what, key, bar
    (
        "interpolation",
        "walks: SC in the middle above the nearest text, lower bound",
        f"{GAP}_elm_low",
        0.0,
    ),
    ("shift", "shifts: Spearman of step and statement, mean over entities and concepts", "spearman_elm", 0.6),
    ("shift", "shifts: the same less what 95 % of random concepts do to any value", "spearman_above_chance", 0.0),
    ("shift", "shifts: change of the target over that of other values", "ratio_elm", 3.0),
)
SHORT = {
    "gap": (GAP, "elm"),
    "middle": ("sc_middle", "elm"),
    "copy": ("sc_middle", "copy_text"),
    "probe": ("sc_middle", "probe_text"),
    "own": ("sc_ends", "own_text"),
    "at ends": ("sc_ends", "elm"),
    "ends": ("sc_ends_minus_copy_text", "elm"),
    "walk": ("sc_walk", "elm"),
    "walk copy": ("sc_walk", "copy_text"),
}
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
    parts = [HEAD, claims(found), short(found.get("curves-own"), found.get("curves-profiles")), tasks(found)]
    curved = {name: found[f"curves-{name}"] for name in SPACES if f"curves-{name}" in found}
    for show in (walks, shifts, cold_start):
        parts += [show(name, result) for name, result in curved.items()]
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
    return "## What was to be shown\n\n" + _table(["", "at least", "found", ""], shown)


def _met(value: float | None, bar: float) -> str:
    return "" if value is None else "met" if value >= bar else "**not met**"


def short(own: Result | None, more: Result | None) -> str:
    """Return why walks between users fall short of copying, what was tried, and what the ceiling is."""
    if own is None or (gap := _of_walks(own, "user", GAP, "elm")) is None:
        return ""
    at = {key: _of_walks(own, "user", metric, c) for key, (metric, c) in SHORT.items()}
    text = f"""## Walks between users

In the middle of a walk between two users the model's SC is {_cell(gap, True)} from that of the nearest user's text.

- *The walk is not to blame.* At its ends, which are users of the test set, the difference is {_cell(at["ends"], True)}
  already; leaving them costs the model {_cell(at["walk"], True)} and copying {_cell(at["walk copy"], True)}. What falls
  short is the profile of a user, not the point between two.
- *The ceiling is low.* The read-back is fitted on the texts of the training users alone, some five hundred. Users' own
  reference texts, which are true, have {_cell(at["own"], True)} at the ends, and what a probe reads from the vectors,
  spelled out, {_cell(at["probe"], True)} in the middle; copying has {_cell(at["copy"], True)}, the model
  {_cell(at["middle"], True)}.
- *The judge was mended first.* A read-back knows by heart the very texts that copying copies, and few users make this
  worth much. It now reads each such text by what was fitted without its user (docs/evaluation.md); docs/log.md has the
  figures of before.
"""
    if more is None:
        return text
    now = {key: _of_walks(more, "user", metric, c) for key, (metric, c) in SHORT.items()}
    tried = f"""- *More profiles.* Of the examples of all tasks hardly one in a hundred is a profile, so that the run
  saw a training user less than once. Let it go on with profiles alone until these get no better on validation users
  (`{more["command"]}`): in the middle {_cell(now["middle"], True)}, at the ends {_cell(now["at ends"], True)}; from
  copying the middle differs by {_cell(now["gap"], True)}.
"""
    return text + tried


def _of_walks(result: Result, space: str, metric: str, condition: str) -> Row | None:
    rows = [r for r in result["curves"] if (r["curve"], r["space"]) == ("interpolation", space)]
    return _at(rows, metric, condition, 0.5)


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
encoder made the space itself, and BC is an AUC (`factors` is its ceiling). The mean is over the tasks that have all the
conditions of a figure. Other results of four tasks, of earlier runs, stand in [README.md](README.md).

"""
    return head + "\n".join(parts) if parts else ""


def _tasks(result: Result, what: str) -> str:
    rows = result["tables"][0]
    wanted = [("sc", c) for c in ("elm", "shuffled", "copy_text", "probe_text", "own_text")]
    wanted += [("bc_auc", c) for c in ("elm", "shuffled", "copy_text", "factors")]
    wanted += [("recovery", "elm"), ("recovery", "copy_text"), ("claims_precision", "elm")]
    at = {(r["task"], r["metric"], r["condition"]): r for r in rows}
    means = {m: of.get("mean", {}) for m, of in table.summary(rows).items()}
    columns = [c for c in wanted if any((task, *c) in at for task in {r["task"] for r in rows})]
    shown = []
    for task in dict.fromkeys(row["task"] for row in rows):
        if any((task, metric, "elm") in at for metric in ("sc", "bc_auc", "claims_precision")):
            shown.append([task, *(_cell(at.get((task, *column)), column[1] == "elm") for column in columns)])
    shown.append(["*mean*", *(_cell(means.get(metric, {}).get(condition)) for metric, condition in columns)])
    labels = {"sc": "SC", "bc_auc": "BC", "claims_precision": "true", "copy_text": "copy", "probe_text": "probe"}
    heads = ["task", *(" ".join(labels.get(word, word) for word in column) for column in columns)]
    return f"*{what}*, `{result['command']}`:\n\n" + _table(heads, shown)


# ---- experiments 2 to 4


def walks(name: str, result: Result) -> str:
    """Return what walks between entities show."""
    rows = [r for r in result["curves"] if r["curve"] == "interpolation"]
    parts = []
    for space in dict.fromkeys(r["space"] for r in rows):
        mine = [r for r in rows if r["space"] == space]
        lines = []
        for condition in ("elm", "copy_text", "probe_text", "own_text", "text_llm"):
            cells = [_at(mine, "sc", condition, x) for x in (0, 0.3, 0.5, 0.7, 1)]
            middle, ends = (_at(mine, metric, condition, 0.5) for metric in ("sc_middle", "sc_ends"))
            if middle is not None or ends is not None:
                lines.append([condition, *map(_cell, cells), _cell(middle, True), _cell(ends, True)])
        gaps = [_at(mine, f"{metric}_minus_copy_text", "elm", 0.5) for metric in ("sc_middle", "sc_ends", "sc_walk")]
        pairs = gaps[0]["n"] if gaps[0] else 0
        said = [
            f"*{space}* (SC at alpha; {pairs} pairs):\n\n",
            _table(["", "0", "0.3", "0.5", "0.7", "1", "0.3 to 0.7", "ends"], lines),
            f"\nThe model less the nearest text: {_cell(gaps[0], True)} in the middle, {_cell(gaps[1], True)} at the "
            f"ends, {_cell(gaps[2], True)} by walking.\n",
        ]
        parts.append("".join(said))
    return _section(f"Between two entities ({SPACES[name]})", result, parts)


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
    return _section(f"Along concepts ({SPACES[name]})", result, parts)


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
    return _section(f"Users hardly known ({SPACES[name]})", result, parts)


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
    return _section(
        "Support",
        result,
        [
            "Can the far-alarm tell real test vectors from vectors that are nobody? And what is said of blends, means "
            "of a few random test vectors, which lie among the real ones and are not one of them:\n",
            _table(["", *known], [[what, *line(key)] for what, key in [*told, *blends]]),
        ],
    )


def semantic(result: Result | None) -> str:
    """Return what a semantic space gave."""
    if result is None:
        return ""
    lines = [[f"`{k}`", f"{v:.3f}"] for k, v in result["figures"].items() if k.startswith(("nsc", "sc_"))]
    return _section("A semantic space", result, [_table(["", ""], lines)])


# ---- tables


def _section(title: str, result: Result, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    sizes = result.get("sizes")
    said = "" if sizes is None else " (" + ", ".join(f"{n} {what}" for what, n in sizes.items()) + ")"
    return f"## {title}\n\n`{result['command']}`{said}\n\n" + "\n".join(parts) + "\n"


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
