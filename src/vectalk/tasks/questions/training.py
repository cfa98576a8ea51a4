"""Training questions: the packaged templates, filled in with the spaces and attributes that a suite declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from vectalk.reading.yaml_text import parse_yaml
from vectalk.tasks.attributes import NO_VALUE, UNREAD, Attribute
from vectalk.tasks.nouns import label_of, noun_of, nouns_of, slot_of, with_article
from vectalk.tasks.questions.free_question import FreeQuestion, packaged
from vectalk.tasks.suite import Suite

WHOLE = "whole"  # templates that ask for no attribute
FLAG = "flag"  # a category whose values are yes and no
KINDS = {"list": "list", "category": "category", "number": "number", "decade": "decade"}  # all others are bands

Templates = Mapping[str, Mapping[str, list[str]]]
"""Kind of attribute, or `whole` -> form -> templates."""


@lru_cache(maxsize=1)
def templates() -> Templates:
    """Return the packaged templates: kind of attribute (or `whole`) -> form -> templates."""
    known: Templates = parse_yaml(packaged("templates"))
    return known


def training_questions(suite: Suite) -> list[FreeQuestion]:
    """Return the training questions about the spaces of a suite: about entities as a whole and about each attribute.

    An attribute gets questions of every form if it can be read back from a text. The nouns of a question are the name
    of the space and the names of the attributes, so the questions fit any domain.

    Args:
        suite: the suite that declares spaces and attributes.
    """
    questions: dict[str, FreeQuestion] = {}
    for space in suite.spaces:
        attributes = suite.attributes.get(space, {})
        readable = {name: attribute for name, attribute in attributes.items() if attribute.kind not in UNREAD}
        for question in (*_filled(space, None, None), *(q for item in readable.items() for q in _filled(space, *item))):
            questions.setdefault(question.text, question)
    return list(questions.values())


def _filled(space: str, name: str | None, attribute: Attribute | None) -> Iterator[FreeQuestion]:
    noun, slot = noun_of(space), slot_of(space)
    words = {"noun": noun, "nouns": nouns_of(space), "a noun": with_article(noun)}
    values: list[str] = []
    if name is not None and attribute is not None:
        words["label"] = label_of(name, attribute)
        values = _values(attribute)
    for form, texts in templates()[_kind(attribute)].items():
        slots = {"a": space, "b": space} if form == "two" else {slot: space}
        for template in texts:
            text = template.replace("{it}", f"{{{slot}}}")
            for word, replacement in words.items():
                text = text.replace(f"<{word}>", replacement)
            for value in values if "<value>" in text else [""]:
                if value or "<value>" not in text:
                    question = text.replace("<value>", value)
                    yield FreeQuestion(question[:1].upper() + question[1:], slots, form, name)


def _kind(attribute: Attribute | None) -> str:
    """Return the name of the templates that ask for an attribute."""
    if attribute is None:
        return WHOLE
    if attribute.kind == "category" and set(attribute.words.values()) >= {"yes", "no"}:
        return FLAG
    return KINDS.get(attribute.kind, "band")


def _values(attribute: Attribute) -> list[str]:
    """Return the words of the values that a suite declares for an attribute."""
    declared = [*attribute.labels, *(value for value in attribute.synonyms if value != NO_VALUE), *attribute.words]
    lower = attribute.kind == "list"
    return list(dict.fromkeys(attribute.words.get(value, value.lower() if lower else value) for value in declared))
