"""Mentions: the entities that an answer names, linked to their spaces; names that do not exist are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vectalk.space import VectorSpace
from vectalk.space.neighbors import similarity
from vectalk.talk.catalogue import Catalogue, Entity, written
from vectalk.talk.engine import Slots
from vectalk.tasks.name_spans import NameSpan, TitleIndex, name_spans

MOST_ENTITIES = 1_000_000  # entities of a space whose titles are recognised


@dataclass(frozen=True)
class Mention:
    """A name in an answer.

    Attributes:
        start: place of its first character in the text.
        end: place after its last.
        name: the name as it is in the text.
        title: the title that it means; None for a name that does not exist.
        space: the space of the entity; None for an unknown name, or a title without an entity.
        id: id of the entity.
        similarity: similarity of the entity to the vector of the question; for the item of a user, the score of the
            factor model. None where they cannot be compared.
        written: what the model wrote, where the name was replaced afterwards.
    """

    start: int
    end: int
    name: str
    title: str | None = None
    space: str | None = None
    id: str | None = None
    similarity: float | None = None
    written: str | None = None

    @property
    def exists(self) -> bool:
        """Whether the name is a title."""
        return self.title is not None


class Linker:
    """Finds the names in texts and links them to entities of the spaces of a run.

    Args:
        spaces: spaces by name.
    """

    def __init__(self, spaces: Mapping[str, VectorSpace]) -> None:
        self.spaces = spaces

    @cached_property
    def _entities(self) -> dict[str, Entity]:
        """Title -> the first entity with this title, of all splits."""
        entities: dict[str, Entity] = {}
        for name, space in self.spaces.items():
            if "title" in space.column_names and len(space) <= MOST_ENTITIES:
                for row, title in enumerate(space.column("title").to_pylist()):
                    if title:
                        entities.setdefault(written(str(title)), Entity(name, row))
        return entities

    @cached_property
    def _index(self) -> TitleIndex:
        return TitleIndex(self._entities)

    def mentions(
        self,
        text: str,
        slots: Slots,
        catalogue: Catalogue | None = None,
        replaced: Sequence[tuple[str, str]] = (),
    ) -> tuple[Mention, ...]:
        """Return the names in a text, in order.

        Args:
            text: an answer.
            slots: slot -> (space, vector [D]) of the question.
            catalogue: the titles that the task of the question may name; None for a free question.
            replaced: names that were replaced afterwards: (as written, title in the text).
        """
        own = catalogue.place if catalogue is not None else {}
        before = {title: name for name, title in replaced}
        spans = name_spans(text, lambda name: name in own or name in self._index, self._index.means)
        return tuple(self._mention(span, slots, catalogue, before.get(span.name)) for span in spans)

    def _mention(self, span: NameSpan, slots: Slots, catalogue: Catalogue | None, before: str | None) -> Mention:
        plain = Mention(span.start, span.end, span.name, written=before)
        if catalogue is not None and span.name in catalogue.place:
            title: str | None = span.name
            entity = catalogue.entities.get(span.name)
        else:
            title = self._index.resolve(span.name)
            entity = None if title is None else self._entities[title]
        if title is None or entity is None:
            return Mention(span.start, span.end, span.name, title, written=before) if title else plain
        space = self.spaces[entity.space]
        nearness = self._similarity(entity, slots)
        if nearness is None and catalogue is not None:
            nearness = catalogue.product(entity, slots)
        name = str(space.column("id")[entity.row].as_py())
        return Mention(span.start, span.end, span.name, title, entity.space, name, nearness, before)

    def _similarity(self, entity: Entity, slots: Slots) -> float | None:
        """Return the similarity of an entity to the nearest vector of its own space; None without such a vector."""
        space = self.spaces[entity.space]
        vectors = [np.asarray(vector, np.float32) for name, vector in slots.values() if name == entity.space]
        if not vectors:
            return None
        own = np.asarray(space.vectors[entity.row], np.float32)[None]
        return float(similarity(np.stack(vectors), own, space.metric).max())
