"""`FreeQuestion`: a question that needs no task, and the files that list such questions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from vectalk.errors import SuiteError
from vectalk.reading.yaml_text import parse_yaml, read_yaml
from vectalk.tasks.suite import slots_in

UNSEEN = "unseen"  # in place of a file: the questions in the package
FIELDS = ("text", "form", "attribute", "slots")


@dataclass(frozen=True)
class FreeQuestion:
    """A question about one or two entities.

    Attributes:
        text: the question with its slots, e.g. `Would my grandmother like {film}?`.
        slots: slot name -> space.
        form: `question`, `command`, `chat`, `yes_no`, `five_words`, `two` or `task` for training questions; any word
            in a file.
        attribute: the attribute that the question asks for; None if the question leaves that open.
        split: `train`, or `unseen` for questions that training never uses.
    """

    text: str
    slots: dict[str, str]
    form: str
    attribute: str | None = None
    split: Literal["train", "unseen"] = "train"


def unseen_questions() -> list[FreeQuestion]:
    """Return the thirty questions about films in the package, which training never uses."""
    text = packaged("unseen-films")
    return _questions(parse_yaml(text), "the packaged unseen questions", {"film"})


def read_questions(path: str | Path, spaces: Collection[str]) -> list[FreeQuestion]:
    """Return the questions of a YAML file, which count as unseen.

    The file is a list. An item is a question, such as `Would my grandmother like {film}?`, or a mapping with `text` and
    optionally `form`, `attribute` and `slots` (slot -> space). A slot without a space in `slots` has the name of its
    space.

    Args:
        path: the file.
        spaces: the names of the known spaces.

    Raises:
        SuiteError: the file is missing or malformed, or a slot belongs to no known space.
    """
    if not Path(path).is_file():
        raise SuiteError(
            f"file of questions {path} does not exist; name a YAML file, or `{UNSEEN}` for the packaged questions"
        )
    return _questions(read_yaml(path, SuiteError), f"file of questions {path}", spaces)


def packaged(name: str) -> str:
    """Return the text of a YAML file of this package."""
    return (resources.files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")


def _questions(items: Any, source: str, spaces: Collection[str]) -> list[FreeQuestion]:
    if not isinstance(items, list) or not items:
        raise SuiteError(f"{source} must hold a list of questions, such as `- Would my grandmother like {{film}}?`")
    questions = [_question(item, f"{source}, question {n}", spaces) for n, item in enumerate(items, 1)]
    texts = [question.text for question in questions]
    repeated = next((text for place, text in enumerate(texts) if text in texts[:place]), None)
    if repeated is not None:
        raise SuiteError(f"{source}: {repeated!r} is in the list twice; remove one of the two")
    return questions


def _question(item: Any, place: str, spaces: Collection[str]) -> FreeQuestion:
    fields: Any = {"text": item} if isinstance(item, str) else item
    if not isinstance(fields, Mapping) or not isinstance(fields.get("text"), str) or set(fields) - set(FIELDS):
        raise SuiteError(f"{place} is {item!r}; write a text, or a mapping of {', '.join(FIELDS)} that has `text`")
    declared = fields.get("slots") or {}
    texts = [fields.get("form", "question"), fields.get("attribute") or ""]
    if not isinstance(declared, Mapping) or not all(isinstance(text, str) for text in texts):
        raise SuiteError(f"{place}: `form` and `attribute` are texts, and `slots` maps slot names to spaces")
    slots = {slot: str(declared.get(slot, slot)) for slot in slots_in(fields["text"])}
    if not slots:
        raise SuiteError(f"{place}, {fields['text']!r}, has no slot; write {{{next(iter(spaces), 'film')}}} in it")
    for slot, space in slots.items():
        if space not in spaces:
            raise SuiteError(
                f"{place}: slot {{{slot}}} belongs to space {space!r}, but the spaces are {', '.join(spaces)}; "
                "name the slot after a space, or map it to one under `slots`"
            )
    return FreeQuestion(fields["text"], slots, texts[0], texts[1] or None, "unseen")
