"""Why some of what was to be shown falls short: figures of the ceiling, and of what was tried."""

from __future__ import annotations

from paper_tables import GAP, Result, Row, cell, row_at

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


def short(found: dict[str, Result]) -> str:
    """Return why what falls short does, what was tried, and what the ceiling is."""
    parts = [
        users(found.get("curves-own"), found.get("curves-own-more")),
        walks_in_paragraphs(found.get("curves-semantic")),
        paragraphs(found.get("curves-semantic"), found.get("curves-semantic-more")),
    ]
    return "\n".join(["## Why some fall short\n", *filter(None, parts)]) if any(parts) else ""


def users(own: Result | None, more: Result | None) -> str:
    """Return what walks between users fall short of."""
    if own is None or (gap := _of_walks(own, GAP, "elm")) is None:
        return ""
    at = {key: cell(_of_walks(own, *where), True) for key, where in SHORT.items()}
    text = f"""**Walks between users.** In the middle the model's SC differs by {cell(gap, True)} from that of the
nearest user's text.

- *The walk is not to blame.* At its ends, which are users of the test set, the difference is {at["ends"]} already;
  leaving them costs the model {at["walk"]} and copying {at["walk copy"]}. What falls short is the profile of a user,
  not the point between two.
- *The ceiling is low.* The read-back is fitted on the texts of the training users alone, some five hundred. Users' own
  reference texts, which are true, have {at["own"]} at the ends, and what a probe reads from the vectors, spelled out,
  {at["probe"]} in the middle; copying has {at["copy"]}, the model {at["middle"]}.
- *The judge was mended first.* A read-back knows by heart the very texts that copying copies; with few users this was
  worth much. It now reads each such text by what was fitted without its user (docs/evaluation.md); benchmarks/log.md
  has the figures of before.
"""
    if more is None:
        return text
    now = {key: cell(_of_walks(more, *where), True) for key, where in SHORT.items()}
    return (
        text
        + f"""- *More of the task.* Of the examples of all tasks hardly one in a hundred is a profile, so that the run
  saw a training user less than once. Let it go on with profiles alone (`{more["command"]}`):
  in the middle {now["middle"]}, at the ends {now["at ends"]}; from copying the middle differs by {now["gap"]}.
  {_passed(more)}
"""
    )


def _passed(result: Result) -> str:
    """Say from how many ratings on a profile predicts better than popularity."""
    for crossing in result["crossings"]:
        if (crossing["metric"], crossing["condition"]) == ("bc_auc", "elm"):
            at = crossing["surely"]
            return f"Its AUC passes popularity surely {'never' if at is None else f'from {at} ratings on'}."
    return ""


def walks_in_paragraphs(result: Result | None) -> str:
    """Return what walks between films in the space of paragraphs fall short of, where they do."""
    if result is None or (gap := _of_walks(result, GAP, "elm", "film")) is None or gap["low"] > 0:
        return ""
    at = {key: cell(_of_walks(result, *where, "film"), True) for key, where in SHORT.items()}
    return f"""**Walks between films in the space of paragraphs.** In the middle the model's SC is {at["middle"]},
that of the nearest film's text {at["copy"]}: {at["gap"]}. At the ends the difference is
{at["ends"]}. The judge there is the text encoder that made the space, and it weighs wordings beside
facts: what a probe reads, spelled out, has {at["probe"]}. The model's greedy answers mostly take one
wording, which does not call the film a film; benchmarks/log.md has the SC by wording.
"""


def paragraphs(first: Result | None, more: Result | None) -> str:
    """Return what shifts in the space of paragraphs fall short of."""
    if first is None:
        return ""
    at = {c: cell(_whole_shift(first, "spearman", c), True) for c in ("elm", "probe", "random")}
    spans = {c: cell(_whole_shift(first, "target_span", c), True) for c in ("elm", "probe")}
    if at["elm"] == "-":
        return ""
    text = f"""**Shifts in the space of paragraphs.** The Spearman of step and statement is {at["elm"]}, that of a probe
on the same vectors {at["probe"]}, which is the ceiling, and that of random concepts {at["random"]}. From -4 to 4
standard deviations the share of texts that state the value rises by {spans["elm"]}, that of the probe's values by
{spans["probe"]}; what changes is the target, and hardly anything else (see the ratio). The run has seen few of the
paragraphs: there are some thirty thousand films, and 24 tasks.
"""
    if more is None:
        return text
    now = {m: cell(_whole_shift(more, m, "elm"), True) for m in ("spearman", "target_span", "score_spearman")}
    return (
        text
        + f"""
- *More of the task.* The run saw few of its examples. Let it go on with summaries alone (`{more["command"]}`):
  the Spearman is {now["spearman"]}, that of step and score of the text {now["score_spearman"]}, and the change of the
  target {now["target_span"]}.
"""
    )


def _whole_shift(result: Result, metric: str, condition: str) -> Row | None:
    rows = [r for r in result["curves"] if (r["curve"], r["subject"]) == ("shift", "all concepts")]
    return row_at(rows, metric, condition, 0)


def _of_walks(result: Result, metric: str, condition: str, space: str = "user") -> Row | None:
    rows = [r for r in result["curves"] if (r["curve"], r["space"]) == ("interpolation", space)]
    return row_at(rows, metric, condition, 0.5)
