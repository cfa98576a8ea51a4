"""The grammar of the facts teacher: Jinja2 sentences over the facts of the slots.

A sentence is a list of wordings. The teacher picks one at random among the wordings whose facts are all known.
Wordings after `otherwise` are tried only if none before it can be written. If no wording can be written, the sentence
is left out, so a text never states facts that the metadata lack. `{when: CONDITION, say: [...]}` holds wordings
that are used only if a condition is true.

    {{ film.genres | series }}          "comedy, crime, drama": best if the model must decide the length of a list,
                                        since after each value there is one way to continue and one to stop
    {{ film.genres | listed }}          "comedy, crime and drama": here two ways to continue share the probability of
                                        not stopping
    {{ a.genres | shared(b.genres) }}   values in both lists (if there are none, the wording cannot be written)
    {{ film.similar | titles }}         “Alien (1979)” and “Heat (1995)”
    {{ film.genres | number }}          "three": the number of values
    {{ a.decade | halfway(b.decade) }}  "1980s": the decade half way between two
    {{ film.rarest | at(0) }}           one of the values
    with [[colour: {{ x.colour }} || price: {{ x.price }}]]
                                        clauses, joined by semicolons; clauses with missing facts are left out
"""

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from vectalk.errors import SuiteError

OTHERWISE = "otherwise"
_CLAUSES = re.compile(r"\[\[(.*?)\]\]")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class MissingFactError(Exception):
    """A wording uses a fact that is not known."""


class Facts:
    """Facts of one entity, by attribute name; a wording that uses a missing fact cannot be written."""

    def __init__(self, words: Mapping[str, Any]) -> None:
        self._words = words

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            value = self._words[name]
        except KeyError:
            value = None
        if value is None or value == []:
            raise MissingFactError(name)
        return value


def _listed(values: list[str] | str, word: str = "and") -> str:
    if isinstance(values, str):
        return values
    if not values:
        raise MissingFactError("an empty list")
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} {word} {values[-1]}"


def _series(values: list[str] | str) -> str:
    if isinstance(values, str):
        return values
    if not values:
        raise MissingFactError("an empty list")
    return ", ".join(values)


def _many(values: list[str] | str) -> list[str]:
    return [values] if isinstance(values, str) else values


def _shared(a: list[str] | str, b: list[str] | str) -> list[str]:
    return [value for value in _many(a) if value in _many(b)]


def _only(a: list[str] | str, b: list[str] | str) -> list[str]:
    return [value for value in _many(a) if value not in _many(b)]


def _at(values: list[str] | str, place: int) -> str:
    items = _many(values)
    if place >= len(items):
        raise MissingFactError(f"value {place}")
    return items[place]


def _titles(values: list[str], count: int = 20, word: str = "and") -> str:
    return _listed([f"“{value}”" for value in values[:count]], word)


def _number(values: list[str] | float) -> str:
    """Return a number, or the number of values, as a word up to ten and in digits above."""
    count = len(values) if isinstance(values, list) else round(values)
    return NUMBERS[count] if 0 <= count < len(NUMBERS) else str(count)


def _halfway(a: str, b: str) -> str:
    """Return the decade that lies half way between two."""
    middle = (int(a.removesuffix("s")) + int(b.removesuffix("s"))) / 2
    return f"{int(middle // 10) * 10}s"


def _needs(value: Any, condition: bool) -> str:
    """Return an empty text; raise MissingFactError unless the condition is true."""
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
    at=_at,
    titles=_titles,
    number=_number,
    halfway=_halfway,
    needs=_needs,
    article=_article,
    capital=_capital,
)


@lru_cache(maxsize=4096)
def _compiled(wording: str) -> jinja2.Template:
    return ENVIRONMENT.from_string(wording)


def expand(sentence: object) -> object:
    """Return a sentence of a suite's YAML as a plain list of wordings; malformed items are returned unchanged."""
    items = sentence if isinstance(sentence, list) else [sentence]
    wordings: list[object] = []
    for item in items:
        if not isinstance(item, Mapping):
            wordings.append(item)
            continue
        if set(item) != {"when", "say"} or not isinstance(item["when"], str):
            raise ValueError(f"a sentence with a condition is {{when: CONDITION, say: WORDINGS}}, not {dict(item)!r}")
        texts = item["say"] if isinstance(item["say"], list) else [item["say"]]
        wordings += [f"{{{{ '' | needs({item['when']}) }}}}{text}" for text in texts]
    return wordings


@lru_cache(maxsize=4096)
def tiers(wordings: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Split wordings at `otherwise`; a later tier is tried only if no wording of an earlier tier can be written."""
    parts: list[list[str]] = [[]]
    for wording in wordings:
        parts.append([]) if wording == OTHERWISE else parts[-1].append(wording)
    return tuple(tuple(part) for part in parts if part)


@lru_cache(maxsize=16)
def _orders(count: int) -> tuple[tuple[int, ...], ...]:
    return tuple(itertools.permutations(range(count)))


def scene(facts: Mapping[str, Facts]) -> Context:
    """Return the rendering context with the facts of all slots; all sentences of a text share it."""
    return ENVIRONMENT.context_class(ENVIRONMENT, {**ENVIRONMENT.globals, **facts}, None, {})


def write(wordings: Sequence[str], facts: Context, choice: random.Random) -> str | None:
    """Write one sentence in a random wording among those that can be written; None if none can be written."""
    written = None
    for part in tiers(tuple(wordings)):
        # Draw an order even if no wording can be written, so that later random choices stay the same.
        if len(part) <= 6:
            orders = _orders(len(part))
            order: Sequence[int] = orders[int(choice.random() * len(orders))]
        else:
            order = choice.sample(range(len(part)), len(part))
        if written is None:
            written = next(filter(None, (render(part[i], facts) for i in order)), None)
    return written


def facts_used(wording: str) -> set[tuple[str, str | None]]:
    """Return the (slot, attribute) pairs that a wording reads; raises on a syntax error.

    The attribute is None for a name without an attribute, which names no fact.
    """
    tree = ENVIRONMENT.parse(wording)
    ENVIRONMENT.from_string(wording)  # raises for unknown filters, which `parse` does not check
    free = meta.find_undeclared_variables(tree) - set(ENVIRONMENT.globals)
    pairs: set[tuple[str, str | None]] = set()
    owners: set[int] = set()
    for node in tree.find_all(nodes.Getattr):
        if isinstance(node.node, nodes.Name):
            pairs.add((node.node.name, node.attr))
            owners.add(id(node.node))
    alone = {name.name for name in tree.find_all(nodes.Name) if id(name) not in owners and name.name in free}
    return pairs | {(name, None) for name in alone}


def render(wording: str, facts: Context) -> str | None:
    """Write one wording, or return None if a fact that it needs is missing.

    Raises:
        SuiteError: a filter or expression of the wording does not fit the values of the facts.
    """
    try:
        if "[[" not in wording:
            return " ".join(_plain(wording, facts).split())
        return " ".join(
            "".join(_plain(p, facts) if isinstance(p, str) else _joined(p, facts) for p in _parts(wording)).split()
        )
    except MissingFactError:
        return None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise SuiteError(f"wording {wording!r} cannot be written: {error}") from None


def _plain(text: str, facts: Context) -> str:
    # Like `template.render` without its slow rewriting of tracebacks: a missing fact is common and not an error.
    return "".join(_compiled(text).root_render_func(facts))


@lru_cache(maxsize=4096)
def _parts(wording: str) -> tuple[str | tuple[str, ...], ...]:
    """Split a wording into texts and tuples of clauses."""
    parts = _CLAUSES.split(wording)
    return tuple(tuple(part.split("||")) if i % 2 else part for i, part in enumerate(parts) if part)


def _joined(clauses: tuple[str, ...], facts: Context) -> str:
    written = []
    for clause in clauses:
        with suppress(MissingFactError):
            written.append(" ".join(_plain(clause, facts).split()))
    if not any(written):
        raise MissingFactError("all clauses")
    return "; ".join(filter(None, written))
