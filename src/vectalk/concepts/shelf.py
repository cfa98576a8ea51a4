"""The saved concepts of a space, `SPACE/concepts/NAME`, and the functions that use them in expressions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import regex

from vectalk.concepts.card import ConceptCard
from vectalk.concepts.concept import Concept
from vectalk.errors import ConceptError
from vectalk.files import holds, put_back
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import Function, Name, as_number, as_point
from vectalk.space.letters import IN_WORD
from vectalk.space.titles import closest


def folder_of(space: VectorSpace, name: str | None = None) -> Path:
    """Return the folder of the concepts of a space, or of one concept; the case of the name is ignored.

    Raises:
        ConceptError: the space was not saved, or the name has no letter and no digit.
    """
    if space.path is None:
        raise ConceptError(f"space {space.name!r} was not saved, so it has no folder of concepts; save it first")
    shelf = space.path / "concepts"
    if name is None:
        return shelf
    slug = regex.sub(rf"[^{IN_WORD}.+&-]+", "-", name.strip().casefold()).strip("-.")
    if not slug:
        raise ConceptError(f"a concept cannot be called {name!r}; its name needs a letter or a digit")
    return shelf / slug


def names(space: VectorSpace) -> list[str]:
    """Return the names of the saved concepts of a space."""
    if space.path is None or not folder_of(space).is_dir():
        return []
    shelf = folder_of(space)
    for waiting in shelf.glob(".*.old"):  # a process was killed while it replaced a concept
        put_back(shelf / waiting.name[1 : -len(".old")])
    return [ConceptCard.read(card.parent).name for card in sorted(shelf.glob("[!.]*/concept.json"))]


def find(space: VectorSpace, name: str) -> Concept:
    """Open a saved concept of a space by its name.

    Raises:
        ConceptError: the space has no such concept; the error names the closest ones.
    """
    folder = folder_of(space, name)
    if not holds(folder, "concept.json"):
        for card in folder.parent.glob("[!.]*/concept.json"):  # old folder names lack combining marks
            if ConceptCard.read(card.parent).name == name:
                return Concept.load(card.parent, space)
        known = names(space)
        near = closest(name, known) or known[:8]
        hint = f"did you mean {', '.join(near)}?" if near else "fit one with `vectalk concept fit`"
        raise ConceptError(f"space {space.name!r} at {space.path} has no concept {name!r}; {hint}")
    return Concept.load(folder, space)


def load_all(space: VectorSpace) -> list[Concept]:
    """Open all saved concepts of a space."""
    return [find(space, name) for name in names(space)]


def keep(concept: Concept, *, overwrite: bool = False) -> Path:
    """Save a concept in the folder of its space."""
    return concept.save(folder_of(concept.space, concept.name), overwrite=overwrite)


def check_vacant(space: VectorSpace, concept_names: Sequence[str], *, overwrite: bool = False) -> None:
    """Raise a ConceptError before a fit if concepts with these names exist, or if two names share a folder."""
    folders: dict[Path, str] = {}
    for name in concept_names:
        folder = folder_of(space, name)
        if folder in folders:
            raise ConceptError(f"concepts {folders[folder]!r} and {name!r} would share the folder {folder}; rename one")
        folders[folder] = name
        put_back(folder)
        if folder.exists() and not overwrite:
            raise ConceptError(f"concept {name!r} already exists at {folder}; pass --overwrite to replace it")


def nearest(concept: Concept, k: int = 8) -> list[tuple[str, float]]:
    """Return the k other concepts of the space with the largest absolute cosine, and their cosines."""
    others = [other for other in load_all(concept.space) if other.name != concept.name]
    cosines = [(other.name, concept.cosine(other)) for other in others]
    return sorted(cosines, key=lambda pair: -abs(pair[1]))[:k]


def _named(value: Any) -> str:
    if not isinstance(value, Name):
        raise TypeError("expected the name of a concept in quotes")
    return value.text


def _concept(space: VectorSpace, name: Any) -> Point:
    """Return one standard deviation along a concept: `'Alien (1979)' + 2 * concept('comedy')`."""
    return find(space, _named(name)).step


def _turn(space: VectorSpace, point: Any, name: Any, steps: Any) -> Point:
    """Shift a point along a concept and keep its length: `turn('Alien (1979)', 'comedy', 2)`."""
    return find(space, _named(name)).shift(as_point(space, point), as_number(steps), keep_norm=True)


FUNCTIONS: dict[str, Function] = {"concept": _concept, "turn": _turn}
