"""The grammar of the facts teacher: Jinja2 sentences over the facts of the slots.

A sentence is a list of wordings; one whose facts are all at hand is picked. Where no wording can be written, the
sentence is left out: a text never states what the metadata lack.

    {{ film.genres | series }}          "comedy, crime, drama": best where a model must decide how long a list is, since
                                        after each value it has one way to go on and one to stop
    {{ film.genres | listed }}          "comedy, crime and drama": two ways to go on share what speaks against stopping
    {{ a.genres | shared(b.genres) }}   what two lists have in common (a wording that needs it fails without)
    {{ film.similar | titles }}         “Alien (1979)” and “Heat (1995)”
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from vectalk.errors import SuiteError


class MissingFactError(Exception):
    """A wording asked for a fact that is not at hand."""


class Facts:
    """Facts of one entity, by attribute name; a missing one stops the wording that asks for it."""

    def __init__(self, words: Mapping[str, Any]) -> None:
        self._words = dict(words)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = self._words.get(name)
        if value is None or value == []:
            raise MissingFactError(name)
        return value


def _listed(values: list[str] | str, word: str = "and") -> str:
    if isinstance(values, str):
        return values
    if not values:
        raise MissingFactError("an empty list")
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} {word} {values[-1]}"


def _series(values: list[str]) -> str:
    if not values:
        raise MissingFactError("an empty list")
    return ", ".join(values)


def _shared(a: list[str], b: list[str]) -> list[str]:
    return [value for value in a if value in b]


def _only(a: list[str], b: list[str]) -> list[str]:
    return [value for value in a if value not in b]


def _titles(values: list[str], count: int = 20, word: str = "and") -> str:
    return _listed([f"“{value}”" for value in values[:count]], word)


def _needs(value: Any, condition: bool) -> str:
    """Write nothing; fail the wording unless the condition holds."""
    if not condition:
        raise MissingFactError("a condition")
    return ""


def _article(phrase: str) -> str:
    return f"{'an' if phrase[:1].lower() in 'aeiou' else 'a'} {phrase}"


def _capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]


ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
ENVIRONMENT.filters.update(
    listed=_listed,
    series=_series,
    shared=_shared,
    only=_only,
    titles=_titles,
    needs=_needs,
    article=_article,
    capital=_capital,
)


@lru_cache(maxsize=4096)
def _compiled(wording: str) -> jinja2.Template:
    return ENVIRONMENT.from_string(wording)


def facts_used(wording: str) -> set[tuple[str, str | None]]:
    """Return the (slot, attribute) pairs that a wording reads; raises on a syntax error.

    The attribute is None where a name stands alone, which says nothing of any entity.
    """
    tree = ENVIRONMENT.parse(wording)
    ENVIRONMENT.from_string(wording)  # unknown filters show only here
    free = meta.find_undeclared_variables(tree) - set(ENVIRONMENT.globals)
    pairs: set[tuple[str, str | None]] = set()
    owners: set[int] = set()
    for node in tree.find_all(nodes.Getattr):
        if isinstance(node.node, nodes.Name):
            pairs.add((node.node.name, node.attr))
            owners.add(id(node.node))
    alone = {name.name for name in tree.find_all(nodes.Name) if id(name) not in owners and name.name in free}
    return pairs | {(name, None) for name in alone}


def render(wording: str, facts: Mapping[str, Facts]) -> str | None:
    """Write one wording, or return None where a fact that it needs is missing.

    Raises:
        SuiteError: the wording asks for what facts cannot do.
    """
    try:
        return " ".join(_compiled(wording).render(facts).split())
    except MissingFactError:
        return None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise SuiteError(f"wording {wording!r} cannot be written: {error}") from None
