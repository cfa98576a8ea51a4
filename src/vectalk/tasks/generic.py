"""The generic suite: questions about the entities of any space, generated from its metadata columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from vectalk.errors import SuiteError
from vectalk.space import VectorSpace
from vectalk.tasks.attributes import Attribute
from vectalk.tasks.derive import Derived, derive_attributes
from vectalk.tasks.packaged import GENERIC, packaged_text
from vectalk.tasks.suite import Suite

HOW = f"write {GENERIC}:SPACE, or {GENERIC}:SPACE=NOUN/PLURAL to name its entities differently"
_CLAUSES = re.compile(r"\[\[(each|numbers): (.*?)\]\]")


def generic_suite(space: VectorSpace, noun: str | None = None, plural: str | None = None) -> Suite:
    """Generate the generic suite of a space.

    Args:
        space: the space; its metadata columns become attributes.
        noun: noun for one entity; the name of the space when omitted.
        plural: noun for several entities; the regular plural of `noun` when omitted.

    Raises:
        SuiteError: no column of the space can be put into words.
    """
    derived = derive_attributes(space)
    if not derived.attributes:
        reasons = "; ".join(f"{column}: {reason}" for column, reason in derived.left_out.items())
        raise SuiteError(
            f"space {space.name!r} has no column that the generic suite can put into words "
            f"({reasons or 'it has no columns but id and title'}); import it with --metadata"
        )
    noun = " ".join((noun or space.name.replace("_", " ")).split())
    plural = " ".join((plural or plural_of(noun)).split())
    words = {
        "space": space.name,
        "noun": noun,
        "nouns": plural,
        "a noun": f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}",
    }
    words["A noun"] = words["a noun"].capitalize()
    filled = _fill(yaml.safe_load(packaged_text(GENERIC)), words, derived)
    filled["attributes"] = {space.name: _attributes(derived, plural)}
    return Suite.model_validate({key: filled[key] for key in ("name", "description", "attributes", "tasks")})


def parse_name(name: str) -> tuple[str | None, str | None, str | None]:
    """Read `generic:SPACE=NOUN/PLURAL`; return space, noun and plural, each None if it is missing."""
    _, _, rest = name.partition(":")
    space, _, nouns = rest.partition("=")
    noun, _, plural = nouns.partition("/")
    return space.strip() or None, noun.strip() or None, plural.strip() or None


def load_generic(name: str, spaces: Mapping[str, VectorSpace] | None) -> Suite:
    """Generate the suite of a name such as `generic:wine`.

    Raises:
        SuiteError: `spaces` lacks the space.
    """
    space, noun, plural = parse_name(name)
    if not spaces:
        raise SuiteError(
            f"the suite {GENERIC!r} is generated from a space, but there is none; add --space NAME=DIR; {HOW}"
        )
    if space is None and len(spaces) == 1:
        space = next(iter(spaces))
    if space is None or space not in spaces:
        fault = "names no space" if space is None else f"names the unknown space {space!r}"
        raise SuiteError(f"suite {name!r} {fault}; the spaces are {', '.join(spaces)}; {HOW}")
    if spaces[space].name != space:
        raise SuiteError(
            f"suite {name!r}: the space passed as {space!r} has the name {spaces[space].name!r}; "
            f"pass it under that name: --space {spaces[space].name}=DIR"
        )
    return generic_suite(spaces[space], noun, plural)


def plural_of(noun: str) -> str:
    """Return the regular plural of an English noun."""
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(?:s|x|z|ch|sh)$", noun) else "s")


def _attributes(derived: Derived, plural: str) -> dict[str, Any]:
    """Return all attributes as values of a suite: those of columns and those computed from the space."""
    attributes: dict[str, Attribute] = dict(derived.attributes)
    for name, attribute in derived.attributes.items():
        attributes[f"{name}_rarest"] = Attribute(kind="rarest", of=name)
        attributes[f"{name}_around"] = Attribute(kind="around", of=name)
        attributes[f"{name}_odd"] = Attribute(kind="around", of=name, lean="less", count=20)
        if attribute.kind == "band":
            labels = ["below average", "average", "above average"]
            attributes[f"{name}_beside"] = Attribute(kind="relative", column=attribute.column, labels=labels)
    amounts = ("hardly any other", "few other", "a fair number of", "plenty of")
    places = [f"{amount} {plural} are like it" for amount in amounts]
    attributes["place"] = Attribute(kind="density", near=10, labels=places)
    attributes["similar"] = Attribute(kind="neighbors")
    return {name: attribute.model_dump(exclude_defaults=True) for name, attribute in attributes.items()}


def _fill(value: Any, words: Mapping[str, str], derived: Derived) -> Any:
    """Return the template with its placeholders filled in."""
    if isinstance(value, str):
        if value == "<attributes>":
            return list(derived.attributes)
        value = _CLAUSES.sub(lambda match: _clauses(match.group(1), match.group(2), derived), value)
        for mark, word in words.items():
            value = value.replace(f"<{mark}>", word)
        return value
    if isinstance(value, list):
        filled: list[Any] = []
        for item in value:
            if isinstance(item, list) and item[:1] == ["each"]:
                for text in item[1:]:
                    filled += [[_fill(one, words, derived)] for one in _each(text, list(derived.attributes), derived)]
            elif not isinstance(item, str) or "[[]]" not in _fill(item, words, derived):  # "[[]]": no clauses to write
                filled.append(_fill(item, words, derived))
        return [item for item in filled if item != []]
    if isinstance(value, dict):
        return {_fill(key, words, derived): _fill(item, words, derived) for key, item in value.items()}
    return value


def _clauses(which: str, clause: str, derived: Derived) -> str:
    names = list(derived.attributes) if which == "each" else derived.numbers
    return f"[[{' || '.join(_each(clause, names, derived))}]]"


def _each(template: str, names: list[str], derived: Derived) -> list[str]:
    texts = []
    for name in names:
        text = template
        label, unit = derived.labels[name], _unit(name, derived)
        if unit is not None or "<unit>" not in template:
            words = {"x": name, "label": label, "label is": derived.introductions[name]}
            words |= {"unit": unit or "", "noun": unit or "", "flag": ""}
            if unit is None:  # "organic (no)"
                words |= {"flag": f"{label} (", "noun": ")"}
            for mark, word in words.items():
                text = text.replace(f"<{mark}>", word)
            texts.append(text)
    return texts


def _unit(name: str, derived: Derived) -> str | None:
    """Return the words after a value that make it understandable alone; None if no words can."""
    attribute = derived.attributes[name]
    if set(attribute.words.values()) >= {"yes", "no"}:
        return None
    counted = attribute.kind == "category" and name in derived.counted
    return f" {derived.labels[name]}" if attribute.kind == "band" or counted else ""
