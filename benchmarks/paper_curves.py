"""What curves show, in Markdown: walks between entities, shifts along concepts, users hardly known."""

from __future__ import annotations

from paper_tables import SPACES, TITLES, Result, cell, markdown_table, row_at, section


def walks(name: str, result: Result) -> str:
    """Return what walks between entities show."""
    rows = [r for r in result["curves"] if r["curve"] == "interpolation"]
    parts = []
    for space in dict.fromkeys(r["space"] for r in rows):
        mine = [r for r in rows if r["space"] == space]
        lines = []
        for condition in ("elm", "copy_text", "probe_text", "own_text", "text_llm", "told_llm"):
            cells = [row_at(mine, "sc", condition, x) for x in (0, 0.3, 0.5, 0.7, 1)]
            middle, ends = (row_at(mine, metric, condition, 0.5) for metric in ("sc_middle", "sc_ends"))
            if middle is not None or ends is not None:
                lines.append([condition, *map(cell, cells), cell(middle, True), cell(ends, True)])
        gaps = [row_at(mine, f"{metric}_minus_copy_text", "elm", 0.5) for metric in ("sc_middle", "sc_ends", "sc_walk")]
        pairs = gaps[0]["n"] if gaps[0] else 0
        said = [
            f"*{space}* (SC at alpha; {pairs} pairs):\n\n",
            markdown_table(["", "0", "0.3", "0.5", "0.7", "1", "0.3 to 0.7", "ends"], lines),
            f"\nThe model less the nearest text: {cell(gaps[0], True)} in the middle, {cell(gaps[1], True)} at the "
            f"ends, {cell(gaps[2], True)} by walking.\n",
        ]
        parts.append("".join(said))
    return section(f"Between two entities ({TITLES[name]})", result, parts)


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
                cells = [row_at(of, metric, condition, 0) for metric in metrics]
                if cells[0] is not None:
                    lines.append([subject, condition, *(cell(found, condition == "elm") for found in cells)])
        chance = next((r for r in mine if r["metric"] == "spearman_95"), None)
        if chance:
            lines.append(["95 % of random concepts, any value", "", f"{chance['value']:.2f}", *"-----"])
        heads = ["concept", "", "Spearman", "of text's score", "target -4 to 4 sd", "other values", "ratio", "q"]
        parts.append(f"*{space}*:\n\n" + markdown_table(heads, lines))
    return section(f"Along concepts ({SPACES[name]})", result, parts)


def cold_start(name: str, result: Result) -> str:
    """Return how profiles gain with ratings, and where they pass popularity."""
    rows = [r for r in result["curves"] if r["curve"] == "cold_start"]
    if not rows:
        return ""
    xs = list(dict.fromkeys(r["x"] for r in rows))
    parts = []
    for metric in ("sc", "bc_auc", "bc_ndcg@10"):
        lines = [
            [condition, *(cell(row_at(rows, metric, condition, x)) for x in xs)]
            for condition in ("elm", "copy_text", "vector", "popularity")
            if row_at(rows, metric, condition, xs[0]) is not None
        ]
        if lines:
            heads = ["ratings", *("all" if x is None else f"{x:g}" for x in xs)]
            parts.append(f"*{metric}*:\n\n" + markdown_table(heads, lines))
    for crossing in result["crossings"]:
        from_on = "never" if crossing["above"] is None else f"from {crossing['above']} ratings on"
        surely = "never" if crossing["surely"] is None else f"from {crossing['surely']}"
        parts.append(f"- {crossing['metric']}, {crossing['condition']}: above popularity {from_on}; surely {surely}.")
    return section(f"Users hardly known ({SPACES[name]})", result, parts)
