"""The folder of an evaluation, to which the free questions are added."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import run_path
from vectalk.evaluation.records import FORMAT, card_of, rows_of
from vectalk.evaluation.report import write_report
from vectalk.evaluation.report.samples import QUESTIONS
from vectalk.evaluation.settings import BESIDE, FILES, STARTED
from vectalk.files import atomic_files, write_json, write_jsonl
from vectalk.reading.cards import stamp
from vectalk.talk import ELM
from vectalk.tasks import Corpus

PARTIAL = "questions.partial.jsonl"


def check_folder(out: Path, identity: str, overwrite: bool) -> None:
    """Check that free questions can be added to a folder.

    Args:
        out: an empty or new folder, or one with a finished evaluation of the same run.
        identity: identifies the run.
        overwrite: whether free questions that are there may be replaced.

    Raises:
        EvaluationError: the folder holds something else.
    """
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    other = sorted(name for name in names - {*FILES, *BESIDE} if not (name.startswith(".") and ".tmp" in name))
    if out.is_file() or other:
        what = other[0] if other else "a file"
        raise EvaluationError(f"{out} is not the folder of an evaluation (it holds {what}); name another with --out")
    if STARTED in names:
        raise EvaluationError(f"{out} holds an interrupted evaluation; finish it without --questions first")
    if "metrics.jsonl" not in names:
        return
    if card_of(out, "config.json").get("run", {}).get("identity") != identity:
        raise EvaluationError(f"{out} holds the evaluation of another run; name another folder with --out")
    if not overwrite and any(row["task"] == QUESTIONS for row in rows_of(out, "metrics.jsonl")):
        raise EvaluationError(f"{out} already holds free questions; replace them with --overwrite")


def add_questions(
    out: Path,
    card: Mapping[str, Any],
    metrics: Sequence[dict[str, Any]],
    answers: Sequence[dict[str, Any]],
    questions: Mapping[str, Any],
) -> None:
    """Write the figures of free questions next to those of the tasks, and write the report again.

    Args:
        out: the folder.
        card: the card of a folder that holds nothing else yet (see `new_card`).
        metrics: rows of `metrics.jsonl`.
        answers: rows of `answers.jsonl`.
        questions: how they were measured, for `config.json`.
    """
    finished = (out / "metrics.jsonl").is_file()
    before = card_of(out, "config.json") if finished else card
    others = {
        name: [row for row in rows_of(out, name) if row["task"] != QUESTIONS]
        for name in ("metrics.jsonl", "answers.jsonl")
    }
    with atomic_files(out) as part:
        write_jsonl(part / "answers.jsonl", [*others["answers.jsonl"], *answers])
        write_json(part / "config.json", {**before, "questions": dict(questions)})
        write_jsonl(part / "metrics.jsonl", [*others["metrics.jsonl"], *metrics])
    (out / PARTIAL).unlink(missing_ok=True)
    write_report(out)


def new_card(elm: ELM, corpus: Corpus, identity: str) -> dict[str, Any]:
    """Return the card of an evaluation that measures no task."""
    card = elm.run.card
    return {
        **stamp(FORMAT),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "run": {
            "path": run_path(elm),
            "identity": identity,
            "llm": card.llm.model_dump(include={"name", "trained", "revision", "fingerprint"}),
            "versions": card.versions,
        },
        "corpus": {
            "path": str(corpus.path),
            **{key: corpus.card[key] for key in ("suite", "teacher", "counts", "spaces")},
        },
        "tasks": [],
    }
