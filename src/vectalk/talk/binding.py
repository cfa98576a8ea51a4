"""`Binder`: binds vectors to the slots of a question: points, titles, ids, expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.concepts.shelf import FUNCTIONS
from vectalk.errors import PromptError
from vectalk.model.prompt import check_slots
from vectalk.model.run import Run
from vectalk.readback.shelf import text_function
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import Function
from vectalk.tasks.suite import Suite, slots_in

Binding = Point | str | np.ndarray | Sequence[float]
Bindings = Mapping[str, Binding]


class Binder:
    """Turns what a user binds to the slots of a question into points of the spaces of a run.

    Args:
        run: the run.
        spaces: spaces by name.
        trust_encoder: load the text encoder that a space or a read-back names even if vectalk does not know it.
    """

    def __init__(self, run: Run, spaces: dict[str, VectorSpace], trust_encoder: bool = False) -> None:
        self.run, self.spaces, self.trust_encoder = run, spaces, trust_encoder

    @cached_property
    def suite(self) -> Suite:
        """The tasks that the run was trained on."""
        return self.run.suite

    def bind(self, question: str, bindings: Bindings) -> dict[str, Point]:
        """Return the point of each slot of a question."""
        if not isinstance(bindings, Mapping):
            raise PromptError(f"bindings must map slot names to points, but they are a {type(bindings).__name__}")
        check_slots(question, bindings)
        return {slot: self.point(slot, bindings[slot], question) for slot in dict.fromkeys(slots_in(question))}

    def point(self, slot: str, value: Binding, question: str | None = None) -> Point:
        """Turn the value bound to a slot into a point of the slot's space.

        Args:
            slot: name of the slot; a slot with the name of a space takes points of that space.
            value: a Point, a vector [D], or a title, id or expression; `film:'Alien (1979)'` names the space of
                a slot that has another name.
            question: the question; the wording of a task determines the spaces of its slots.

        Returns:
            A point of one of the run's own spaces.

        Raises:
            PromptError: the space of the slot is unknown.
        """
        if isinstance(value, Point):
            # Compare fingerprints: the same space may have another name elsewhere.
            matches = [s for s in self.spaces.values() if s.fingerprint == value.space.fingerprint]
            if not matches:
                raise PromptError(
                    f"slot {{{slot}}}: the point lies in space {value.space.name!r} ({value.space.fingerprint[:12]}), "
                    f"on which this model was not trained; bind a point of one of its spaces: {self._known()}"
                )
            target = self.space_of(slot, question) if len(matches) > 1 else matches[0]
            return replace(value, space=target)
        if isinstance(value, str):
            name, sign, rest = value.partition(":")
            if sign and name.strip() in self.spaces:
                return self._parse(self.spaces[name.strip()], rest.strip())
            return self._parse(self.space_of(slot, question), value)
        space = self.space_of(slot, question)
        return Point(np.asarray(value, np.float32), space, f"the vector given for {{{slot}}}")

    def _parse(self, space: VectorSpace, text: str) -> Point:
        return space.point(text, {**FUNCTIONS, "text": self._text})

    def _text(self, space: VectorSpace, text: Any) -> Point:
        return self._text_point(space, text)

    @cached_property
    def _text_point(self) -> Function:
        return text_function(Path(self.run.path), self.trust_encoder)

    def space_of(self, slot: str, question: str | None) -> VectorSpace:
        """Return the space of a slot, from the slot's name, from the tasks with this slot, or the run's only space."""
        if slot in self.spaces:
            return self.spaces[slot]
        if len(self.spaces) == 1:
            return next(iter(self.spaces.values()))
        tasks = [task for task in self.suite.tasks if slot in task.slots]
        exact_tasks = [task for task in tasks if question in task.prompts]
        declared = {task.slots[slot] for task in exact_tasks or tasks}
        if len(declared) == 1:
            return self.spaces[declared.pop()]
        raise PromptError(
            f"slot {{{slot}}} could belong to any space; name it after a space ({self._known()}), or bind e.g. "
            f"{next(iter(self.spaces))}:'...'"
        )

    def _known(self) -> str:
        return ", ".join(f"{name!r} ({space.fingerprint[:12]})" for name, space in self.spaces.items())
