"""The answers in the report: the best, the middle and the worst by their scores, without manual selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

View = dict[str, Any]
SIDES = ("elm", "shuffled", "probe_text", "own_text")
FAILURES = 6
QUESTIONS = "questions"  # the task of free questions, which have a section of their own


class Answers:
    """The rows of `answers.jsonl`, grouped by question.

    Attributes:
        questions: task -> one dictionary for each test example: condition -> row.
        scored: whether the rows have scores.
    """

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.questions: dict[str, list[dict[str, dict[str, Any]]]] = {}
        last_place: dict[tuple[str, str], int] = {}
        for row in (row for row in rows if row["task"] != QUESTIONS):
            task, condition = row["task"], row["condition"]
            place = last_place[task, condition] = last_place.get((task, condition), -1) + 1
            questions = self.questions.setdefault(task, [])
            if place == len(questions):
                questions.append({})
            questions[place][condition] = row
        self.scored = any(_score(row) is not None for row in rows)

    def picked(self, task: str) -> list[View]:
        """Return the best, the middle and the two worst answers of a task."""
        questions = [q for q in self.questions.get(task, []) if "elm" in q]
        ranked = sorted(
            (q for q in questions if _score(q["elm"]) is not None), key=lambda q: -(_score(q["elm"]) or 0.0)
        )
        if len(ranked) < 4:
            return [_view(q, "") for q in questions[:3]]
        places = {"best": 0, "middle": len(ranked) // 2, "second worst": len(ranked) - 2, "worst": len(ranked) - 1}
        return [_view(ranked[place], why) for why, place in places.items()]

    def failures(self) -> list[View]:
        """Return the answers of all tasks with the largest gap in SC to the entity's own reference text."""
        gaps = [
            (gap, question)
            for questions in self.questions.values()
            for question in questions
            if (gap := _gap(question)) is not None and gap > 0
        ]
        gaps.sort(key=lambda pair: -pair[0])
        seen: set[str] = set()
        views = []
        for gap, question in gaps:
            title = _title(question["elm"])
            if title not in seen:  # one failure for each entity, for variety
                seen.add(title)
                views.append(_view(question, f"SC {gap:.2f} below its reference text"))
            if len(views) == FAILURES:
                break
        return views


def _score(row: dict[str, Any]) -> float | None:
    value = row.get("sc")
    return row.get("true") if value is None else value


def _gap(question: dict[str, dict[str, Any]]) -> float | None:
    own, reference = (question.get(c, {}).get("sc") for c in ("elm", "own_text"))
    return None if own is None or reference is None else reference - own


def _title(row: dict[str, Any]) -> str:
    return " and ".join(str(slot.get("title") or slot.get("row")) for slot in row["slots"].values())


def _view(question: dict[str, dict[str, Any]], why: str) -> View:
    own = question["elm"]
    sides = [
        {"condition": c, "text": question[c]["answer"], "sc": question[c].get("sc"), "true": question[c].get("true")}
        for c in SIDES
        if c in question
    ]
    if "own_text" not in question:
        sides.append({"condition": "own_text", "text": own["reference"], "sc": None, "true": None})
    return {"why": why, "task": own["task"], "title": _title(own), "prompt": own["prompt"], "sides": sides}
