"""`told`: the facts of an entity as a noun phrase in words, which can replace the entity's slot in a question."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vectalk.space import VectorSpace
from vectalk.tasks.attributes import UNREAD, AttributeReader
from vectalk.tasks.nouns import label_of, noun_of, with_article
from vectalk.tasks.suite import Suite, pieces_of, slots_in
from vectalk.tasks.surroundings import bind
from vectalk.tasks.teachers import grammar


@dataclass(frozen=True)
class FactPhrases:
    """What `told` needs to know about a space.

    Attributes:
        name: what the suite calls the space.
        readers: its attributes by name.
        wordings: the suite's wordings of the phrase; empty for the generic phrase.
    """

    name: str
    readers: Mapping[str, AttributeReader]
    wordings: Sequence[str] = ()

    @classmethod
    def of(cls, suite: Suite, name: str, space: VectorSpace) -> FactPhrases:
        """Bind a suite's attributes to a space.

        Args:
            suite: the suite with the attributes and, optionally, wordings of the phrase.
            name: what the suite calls the space.
            space: the space.
        """
        return cls(name, bind(suite.attributes.get(name, {}), space), suite.phrases.get(name, ()))

    @property
    def stated(self) -> dict[str, AttributeReader]:
        """The attributes that a phrase may state: those that can be read back from a text. None holds a title."""
        return {n: r for n, r in self.readers.items() if r.present and r.kind not in UNREAD}


def told(space_reader: FactPhrases, row: int) -> str:
    """Return the facts of an entity as a noun phrase, without its title.

    The wording is that of the suite, e.g. "a 1990s drama and comedy film with a huge audience, well received". Without
    one, or if facts are missing for all wordings, the phrase lists the facts: "a product (category: toys; price: 12)".

    Args:
        space_reader: the space with its attributes.
        row: row of the entity.
    """
    return told_values(space_reader, {name: reader.value(row) for name, reader in space_reader.stated.items()}, row)


def told_values(space_reader: FactPhrases, values: Mapping[str, Any], seed: int) -> str:
    """Return values in words as a noun phrase, as `told` does for the facts of an entity.

    Args:
        space_reader: the space with its attributes.
        values: value of each stated attribute; None if unknown.
        seed: chooses among the suite's wordings.
    """
    readers = space_reader.stated
    words = {name: reader.words(values.get(name)) for name, reader in readers.items()}
    if space_reader.wordings:
        scene = grammar.scene({space_reader.name: grammar.Facts(words)})
        phrase = grammar.write(space_reader.wordings, scene, random.Random(seed))
        if phrase is not None:
            return phrase
    facts = [
        f"{label_of(name, readers[name].attribute)}: {_as_text(value)}"
        for name, value in words.items()
        if value is not None and value != []
    ]
    noun = with_article(noun_of(space_reader.name))
    return f"{noun} ({'; '.join(facts)})" if facts else noun


def in_words(question: str, words: str | Mapping[str, str]) -> str:
    """Return a question with words in the place of its slots; braces in the words stay plain text.

    Args:
        question: text with slots.
        words: the words for all slots, or slot -> words.
    """
    phrases = {text: words if isinstance(words, str) else words[text] for text in slots_in(question)}
    plain = "".join(phrases[text] if is_slot else text for text, is_slot in pieces_of(question))
    return re.sub(r"\{(\w+)\}", r"{{\1}}", plain)


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
