"""`report.html`: an evaluation as one page. The page needs no network, no script and no other file."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vectalk.errors import EvaluationError
from vectalk.evaluation.records import card_of, rows_of
from vectalk.evaluation.report import curves, maps, panels, questions, words
from vectalk.evaluation.report.figures import Figures, as_text
from vectalk.evaluation.report.samples import QUESTIONS, Answers
from vectalk.files import write_text

NAME = "report.html"


def write_report(evaluation: str | Path, curves_from: str | Path | None = None) -> Path:
    """Write the report of an evaluation into its folder, and return the path of the report.

    Args:
        evaluation: folder that `vectalk evaluate` wrote.
        curves_from: folder that `vectalk curves` wrote. When omitted, the function looks in `evaluation`, in its folder
            `curves`, and in a folder `curves` next to it.

    Raises:
        EvaluationError: `evaluation` holds no finished evaluation, or `curves_from` holds no curves.
    """
    folder = Path(evaluation)
    if not (folder / "metrics.jsonl").is_file():
        raise EvaluationError(f"{folder} holds no finished evaluation: it has no metrics.jsonl; run `vectalk evaluate`")
    path = folder / NAME
    write_text(path, render(folder, _curves_folder(folder, curves_from)))
    return path


def render(folder: Path, curves_folder: Path | None = None) -> str:
    """Return the HTML page of the evaluation in a folder, with the curves of another folder."""
    card = {
        "run": {"path": None, "identity": ""},
        "readback": {},
        "not_run": {},
        "notes": [],
        **card_of(folder, "config.json"),
    }
    figures = Figures(rows_of(folder, "metrics.jsonl"))
    if not figures.tasks:
        raise EvaluationError(f"{folder}/metrics.jsonl holds no figures; run `vectalk evaluate` again")
    answers = Answers(rows_of(folder, "answers.jsonl"))
    crossings = card_of(curves_folder, "curves.json").get("crossings", []) if curves_folder else []
    lines = rows_of(curves_folder, "curves.jsonl") if curves_folder else []
    curve_answers = rows_of(curves_folder, "curves_answers.jsonl") if curves_folder else []
    spaces = card_of(folder, "map.json") if (folder / "map.json").is_file() else {}
    metric_panels = panels.panels(figures)
    view = {
        "name": Path(card["run"]["path"] or folder).name,
        "card": card,
        "figures": figures,
        "cards": panels.cards(figures),
        "verdict": panels.verdict(figures),
        "panels": metric_panels,
        "marked": panels.marked(metric_panels),
        "curves": curves.sections(lines, crossings),
        "maps": maps.maps(spaces, curve_answers),
        "failures": answers.failures(),
        "samples": [(task, answers.picked(task)) for task in figures.tasks if task != QUESTIONS],
        "scored": answers.scored,
        "questions": questions.section(folder, figures, card),
        "conditions": words.CONDITIONS,
        "metrics": words.METRICS,
        "limits": words.LIMITS,
        "ratings": card_of(folder, "ratings.json") if (folder / "ratings.json").is_file() else None,
        "settings": {k: card[k] for k in _SETTINGS if k in card},
        "style": (files(__package__) / "style.css").read_text(encoding="utf-8"),
    }
    return str(_template().render(**view))


_SETTINGS = ("limit", "encoder", "same_encoder", "readback_texts", "ratings", "seed", "max_new_tokens", "conditions")


def _curves_folder(folder: Path, curves_from: str | Path | None) -> Path | None:
    if curves_from is not None:
        if not (Path(curves_from) / "curves.jsonl").is_file():
            raise EvaluationError(
                f"{curves_from} holds no curves: it has no curves.jsonl; run `vectalk curves RUN --out {curves_from}`"
            )
        return Path(curves_from)
    places = (folder, folder / "curves", folder.parent / "curves")
    return next((place for place in places if (place / "curves.jsonl").is_file()), None)


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = as_text
    return environment.from_string((files(__package__) / "report.html").read_text(encoding="utf-8"))
