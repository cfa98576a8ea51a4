"""The section of the report about free questions: figures, and for each question the answers side by side."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

from vectalk.evaluation.records import Row, rows_of
from vectalk.evaluation.report.figures import MODEL, Figures, as_text
from vectalk.evaluation.report.samples import QUESTIONS

View = dict[str, Any]
ENTITIES = 3  # entities whose answers are shown for each question
CONDITIONS = {  # condition -> (name, description)
    "elm": ("the model", "reads the vector"),
    "shuffled": ("another vector", "control: the model reads the vector of another entity"),
    "told": ("told the facts", "the base LLM without training reads the facts in words in the place of the vector"),
    "told_shuffled": ("told other facts", "control: the base LLM reads the facts of another entity"),
    "copy_told": ("told a neighbour", "baseline: the base LLM reads the facts of the nearest training entity"),
    "probe_told": ("told a probe's reading", "baseline: the base LLM reads what probes predict from the vector"),
    "text_llm": ("told the title", "baseline: a language model reads the title"),
}
RATIOS = {  # metric -> (name, description)
    "unseen_ratio": ("unseen ratio", "gain of the right vector on these questions / the same on trained wordings"),
    "told_ratio": ("told ratio", "gain of the right vector / gain of the right facts in words"),
    "kl_kept": ("KL kept", "1 - KL(told, vector) / KL(told, another vector), over the answers of the told base LLM"),
}


def section(folder: Path, figures: Figures, card: View) -> str:
    """Return the section in HTML; an empty text if the evaluation has no free questions.

    Args:
        folder: folder of the evaluation.
        figures: all figures of the evaluation.
        card: its `config.json`.
    """
    if QUESTIONS not in figures.tasks or "questions" not in card:
        return ""
    answers = [row for row in rows_of(folder, "answers.jsonl") if row["task"] == QUESTIONS]
    conditions = [c for c in CONDITIONS if any(row["condition"] == c for row in answers)]
    settings = card["questions"]
    attributes = list(dict.fromkeys(name for row in answers for name in row.get("scores", {})))
    metrics = {f"score/{name}": name for name in attributes} | {"distinct": "distinct answers"}
    return str(
        _template().render(
            settings=settings,
            conditions=conditions,
            words=CONDITIONS,
            attributes=attributes,
            table=[(label, [figures.get(QUESTIONS, m, c) for c in conditions]) for m, label in metrics.items()],
            ratios=_ratios(figures, attributes),
            questions=[_question(item, answers, conditions) for item in settings["list"]],
        )
    )


def _ratios(figures: Figures, attributes: list[str]) -> list[View]:
    views = []
    for metric, (name, what) in RATIOS.items():
        for label, key in [(name, metric), *((f"{name}, {a}", f"{metric}/{a}") for a in attributes)]:
            for condition, (reader, _) in CONDITIONS.items():
                figure = figures.get(QUESTIONS, key, condition)
                if figure is not None:
                    whose = "" if condition == MODEL else f" ({reader})"
                    views.append({"name": label + whose, "what": what, "figure": figure})
    return views


def _question(item: View, answers: list[Row], conditions: list[str]) -> View:
    """Return one question: its mean scores by condition, and the answers about the first entities side by side."""
    by_condition = {
        c: [row for row in answers if row["condition"] == c and row["prompt"] == item["text"]] for c in conditions
    }
    attributes = list(dict.fromkeys(a for rows in by_condition.values() for row in rows for a in row.get("scores", {})))
    means = []
    for name in attributes:
        scores = [[row["scores"][name] for row in rows if name in row["scores"]] for rows in by_condition.values()]
        means.append((name, [fmean(values) if values else None for values in scores]))
    sides = []
    for place in range(min(ENTITIES, *map(len, by_condition.values()))):
        rows = {c: rows[place] for c, rows in by_condition.items()}
        first = next(iter(rows.values()))
        title = " and ".join(str(slot.get("title") or slot.get("row")) for slot in first["slots"].values())
        texts = {c: row["answer"] for c, row in rows.items()}
        sides.append({"title": title, "facts": first["reference"], "answers": texts})
    return {**item, "means": means, "sides": sides}


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = as_text
    return environment.from_string((files(__package__) / "questions.html").read_text(encoding="utf-8"))
