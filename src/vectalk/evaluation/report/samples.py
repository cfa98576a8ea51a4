"""Which answers are shown: the best, the middling and the worst by their own figures, never by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

View = dict[str, Any]
SIDES = ("elm", "shuffled", "probe_text", "own_text")
FAILURES = 6


class Answers:
    """The rows of `answers.jsonl`, question by question.

    Attributes:
        questions: task -> a row for each condition, one dictionary a test example.
        scored: whether answers carry figures of their own.
    """

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.questions: dict[str, list[dict[str, dict[str, Any]]]] = {}
        counted: dict[tuple[str, str], int] = {}
        for row in rows:
            task, condition = row["task"], row["condition"]
            place = counted[task, condition] = counted.get((task, condition), -1) + 1
            asked = self.questions.setdefault(task, [])
            if place == len(asked):
                asked.append({})
            asked[place][condition] = row
        self.scored = any(_score(row) is not None for row in rows)

    def picked(self, task: str) -> list[View]:
        """Return the best, the middle and the two worst answers of a task."""
        asked = [q for q in self.questions.get(task, []) if "elm" in q]
        ranked = sorted((q for q in asked if _score(q["elm"]) is not None), key=lambda q: -(_score(q["elm"]) or 0.0))
        if len(ranked) < 4:
            return [_view(q, "") for q in asked[:3]]
        chosen = {"best": 0, "middle": len(ranked) // 2, "second worst": len(ranked) - 2, "worst": len(ranked) - 1}
        return [_view(ranked[place], why) for why, place in chosen.items()]

    def failures(self) -> list[View]:
        """Return the answers, of all tasks, that fall furthest short of their entity's own reference text."""
        short = [
            (gap, question)
            for asked in self.questions.values()
            for question in asked
            if (gap := _gap(question)) is not None and gap > 0
        ]
        short.sort(key=lambda pair: -pair[0])
        seen: set[str] = set()
        found = []
        for gap, question in short:
            title = _title(question["elm"])
            if title not in seen:  # one failure an entity tells more than one entity's failures
                seen.add(title)
                found.append(_view(question, f"SC {gap:.2f} below its reference"))
            if len(found) == FAILURES:
                break
        return found


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
