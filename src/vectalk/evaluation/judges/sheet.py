"""Rating sheets: texts of all conditions in random order. A separate key says which condition wrote a text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from vectalk.errors import EvaluationError
from vectalk.evaluation.records import FORMAT, card_of, rows_of
from vectalk.files import atomic_folder, write_json, write_text
from vectalk.reading.cards import read_card, stamp
from vectalk.reading.fields import PathText
from vectalk.tasks.suite import pieces_of

QUESTIONS = {  # after the three questions of the ELM paper
    "consistency": "Does the text fit what is known? 1: it contradicts it; 5: it fits in all that it says.",
    "comprehensiveness": "Does it tell what matters? 1: nothing of it; 5: all that one would want to be told.",
    "quality": "Does it do well what was asked? 1: not at all; 5: nothing to improve.",
}
LOWEST, HIGHEST = 1, 5
CONDITIONS = ("elm", "shuffled", "copy_text", "probe_text", "own_text", "text_llm")
KEY = "key.json"


@dataclass(frozen=True)
class Item:
    """One text to rate.

    Attributes:
        item: number of the item on the sheet.
        task: name of the task.
        question: the question, with titles in the slots.
        known: the reference text, which raters may see; empty if raters see only the titles.
        text: the text to rate.
        condition: the condition that wrote the text; only in the key.
        example: number of the test example of the task; only in the key.
        sc: semantic consistency of the text, None if it has none; only in the key.
    """

    item: str
    task: str
    question: str
    known: str
    text: str
    condition: str
    example: int
    sc: float | None


@dataclass(frozen=True)
class Sheet:
    """A sheet and its key.

    Attributes:
        items: the items, in the order of the sheet.
        evaluation: folder of the evaluation that wrote the texts.
    """

    items: list[Item]
    evaluation: str

    @classmethod
    def load(cls, folder: str | Path) -> Sheet:
        """Open the key of a sheet from its folder.

        Raises:
            EvaluationError: the folder holds no sheet, or a newer version wrote it.
        """
        card: _Key = read_card(Path(folder) / KEY, FORMAT, _Key, EvaluationError)
        return cls(card.items, card.evaluation)


class _Key(BaseModel):
    """`key.json`."""

    items: list[Item] = Field(min_length=1)
    evaluation: PathText


def write_sheet(
    evaluation: str | Path,
    out: str | Path,
    *,
    tasks: Sequence[str] | None = None,
    conditions: Sequence[str] = CONDITIONS,
    each: int = 10,
    facts: bool = True,
    seed: int = 0,
    overwrite: bool = False,
) -> Sheet:
    """Write `sheet/sheet.csv` and `sheet/sheet.html` for raters, and `key.json`, which raters must not see.

    Args:
        evaluation: folder of a finished evaluation.
        out: folder of the sheet.
        tasks: names of tasks; all tasks when omitted.
        conditions: conditions whose texts are rated; conditions that the evaluation lacks are skipped.
        each: most test examples of each task.
        facts: show raters the reference text as the known facts. The condition `own_text` is then left out, because
            its text is the reference text. If false, raters see only the titles.
        seed: seed of the choice of examples and of their order.
        overwrite: replace another sheet in `out`.

    Returns:
        The sheet with its key.

    Raises:
        EvaluationError: `evaluation` holds no answers of these conditions, or a task is unknown.
    """
    place = Path(evaluation)
    if not (place / "answers.jsonl").is_file():
        raise EvaluationError(f"{evaluation} holds no evaluation: it has no answers.jsonl; run `vectalk evaluate`")
    if (place / "config.json").is_file():
        card_of(place, "config.json")  # refuses a newer format, whose rows may have another meaning
    rows = rows_of(place, "answers.jsonl")
    task_names = list(dict.fromkeys(row["task"] for row in rows))
    unknown = sorted(set(tasks or ()) - set(task_names))
    if unknown:
        raise EvaluationError(f"unknown task {unknown[0]!r}; the evaluation has {', '.join(task_names)}")
    rated = [c for c in conditions if not (facts and c == "own_text")]
    rng, items = np.random.default_rng(seed), []
    for task in tasks or task_names:
        by = {c: [r for r in rows if r["task"] == task and r["condition"] == c] for c in rated}
        count = min((len(answers) for answers in by.values() if answers), default=0)
        for example in sorted(rng.permutation(count)[:each].tolist()):
            items += [_item(answers[example], example, facts) for answers in by.values() if answers]
    if not items:
        raise EvaluationError(f"{evaluation} has no texts of the conditions {', '.join(rated)}")
    items = [items[i] for i in rng.permutation(len(items))]
    width = len(str(len(items)))
    numbered = [Item(**{**asdict(item), "item": f"{n:0{width}}"}) for n, item in enumerate(items, 1)]
    with atomic_folder(out, KEY, overwrite=overwrite) as folder:
        write_text(folder / "sheet" / "sheet.csv", _csv(numbered))
        write_text(folder / "sheet" / "sheet.html", _page(numbered))
        sheet = Sheet(numbered, str(Path(evaluation).resolve()))
        write_json(folder / KEY, {**stamp(FORMAT), **asdict(sheet)})
    return sheet


def _item(row: dict[str, Any], example: int, facts: bool) -> Item:
    names = {slot: f"“{of.get('title') or of.get('row')}”" for slot, of in row["slots"].items()}
    question = "".join(names.get(text, text) if is_slot else text for text, is_slot in pieces_of(row["prompt"]))
    known = row["reference"] if facts else ""
    return Item("", row["task"], question, known, row["answer"], row["condition"], example, row.get("sc"))


def _csv(items: Sequence[Item]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["item", "question", "known", "text", *QUESTIONS])
    for item in items:
        texts = (item.question, item.known, item.text)
        writer.writerow([item.item, *map(_escape_formula, texts), *("" for _ in QUESTIONS)])
    return file.getvalue()


def _escape_formula(text: str) -> str:
    """Return the text in a form that no spreadsheet reads as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def _page(items: Sequence[Item]) -> str:
    style = (files("vectalk.evaluation.report") / "style.css").read_text(encoding="utf-8")
    # The browser stores unfinished ratings under this name; the hash keeps the ratings of sheets separate.
    name = f"vectalk-{abs(hash_of(items)):x}"
    return str(_template().render(items=items, questions=QUESTIONS, style=style, name=name))


def hash_of(items: Sequence[Item]) -> int:
    """Return a checksum of the texts of a sheet, which identifies the sheet."""
    import zlib

    return zlib.crc32("\n".join(item.text for item in items).encode())


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((files(__package__) / "sheet.html").read_text(encoding="utf-8"))
