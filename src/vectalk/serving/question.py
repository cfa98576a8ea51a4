"""From the messages of a chat completion to one question with its bindings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from vectalk.serving.errors import ApiError
from vectalk.serving.inline import split_text
from vectalk.serving.limits import Limits
from vectalk.serving.vectors import TextPart, VectorPart, VectorValue, expression_point, point_of
from vectalk.space import Point
from vectalk.talk import ELM
from vectalk.talk.history import Exchange
from vectalk.tasks.suite import slots_in

EARLIER = "earlier messages were not read: the model answers each question alone"
_SLOT_NAME = re.compile(r"[A-Za-z_]\w*")


def _form(value: object) -> str | None:
    """Return the tag of the form in which a content or a binding was sent; None for one that is not allowed."""
    forms: dict[type, str] = {str: TEXT, list: ITEMS, dict: OBJECT, VectorValue: OBJECT}
    return forms.get(type(value))


# The tags let an error name the one form that was sent; brackets keep them apart from the names of fields.
TEXT, ITEMS, OBJECT = "(text)", "(list)", "(object)"
Part = Annotated[TextPart | VectorPart, Field(discriminator="type")]
Content = Annotated[Annotated[str, Tag(TEXT)] | Annotated[list[Part], Tag(ITEMS)], Discriminator(_form)]
Binding = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[list[float], Tag(ITEMS)] | Annotated[VectorValue, Tag(OBJECT)],
    Discriminator(_form),
]
"""A vector in `bindings`: an expression, the numbers, or an object with the space and one of the three forms."""


class Message(BaseModel):
    """A message. The last one is the question; it is of the user."""

    model_config = ConfigDict(extra="ignore")

    role: str = Field(description="`user`; earlier messages may be of the `assistant`.")
    content: Content | None = Field(None, description="Text with slots, or a list of text and vector parts.")


@dataclass
class Question:
    """A question as the model takes it.

    Attributes:
        text: text with slots.
        points: slot -> point.
        notes: what the client should know about how its messages were read.
        earlier: the earlier turns of the conversation.
        dropped: number of older turns that were not read, since the request exceeds a limit of the server.
    """

    text: str = ""
    points: dict[str, Point] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    earlier: list[Exchange] = field(default_factory=list)
    dropped: int = 0


def read_question(
    elm: ELM, messages: Sequence[Message], bindings: Mapping[str, Binding], limits: Limits, history: bool = False
) -> Question:
    """Read the question of a conversation.

    Args:
        elm: the model.
        messages: the conversation; the last message is the question.
        bindings: slot -> vector, for slots in the text.
        limits: how many vectors there may be, and how long their expressions.
        history: read the earlier messages too.

    Raises:
        ApiError: a message cannot be answered, or a vector is malformed.
        VectalkError: an expression is malformed, or names nothing.
    """
    _check_roles(messages, history)
    earlier = [slots_in(_text(message)) for message in messages[:-1] if history and message.role == "user"]
    slots = set(slots_in(_text(messages[-1])))
    own = {slot: value for slot, value in bindings.items() if slot in slots or not any(slot in e for e in earlier)}
    question = _read_message(elm, messages[-1], len(messages) - 1, own, limits)
    if len(messages) > 1 and not history:
        question.notes.append(EARLIER)
    elif history:
        _read_earlier(elm, question, messages, bindings, limits)
    return question


def _read_earlier(
    elm: ELM, question: Question, messages: Sequence[Message], bindings: Mapping[str, Binding], limits: Limits
) -> None:
    """Read the turns before a question, from the latest on, as long as the request stays within the limits."""
    numbers = [n for n, message in enumerate(messages[:-1]) if message.role == "user"]
    vectors, characters = len(question.points), len(question.text)
    for place, number in reversed(list(enumerate(numbers))):
        answer = next(_text(message) for message in messages[number + 1 :] if message.role == "assistant")
        text = _text(messages[number])
        characters += len(text) + len(answer)
        own = {slot: bindings[slot] for slot in slots_in(text) if slot in bindings}
        if characters <= limits.question:
            turn = _read_message(elm, messages[number], number, own, limits)
            vectors += len(turn.points)
        if characters > limits.question or vectors > limits.vectors:
            question.dropped = place + 1
            return
        question.earlier.insert(0, Exchange(turn.text, turn.points, answer))


def _text(message: Message) -> str:
    """Return the text of a message, without its vectors."""
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content or [] if isinstance(part, TextPart))


def _read_message(elm: ELM, message: Message, place: int, bindings: Mapping[str, Binding], limits: Limits) -> Question:
    """Read the text and the vectors of one message."""
    content, text = message.content, _text(message)
    parts = [TextPart(type="text", text=content)] if isinstance(content, str) else list(content or [])
    if len(text) > limits.question:
        raise ApiError(400, f"the question has {len(text)} characters; allowed are {limits.question}", param="messages")
    question = Question()
    reader = _Reader(elm, question, {*slots_in(text), *bindings}, limits)
    for number, part in enumerate(parts):
        if isinstance(part, TextPart):
            reader.text(part.text)
        else:
            reader.vector(part, f"messages.{place}.content.{number}", set(slots_in(text)), bindings)
    if not question.text.strip():
        raise ApiError(400, "the question is empty", param="messages", code="empty_question")
    for slot, value in bindings.items():
        reader.binding(slot, value)
    reader.check_count()
    return question


class _Reader:
    """Collects the text and the points of one question."""

    def __init__(self, elm: ELM, question: Question, names: set[str], limits: Limits) -> None:
        self.elm, self.question, self.names, self.limits = elm, question, names, limits

    def text(self, text: str) -> None:
        """Add text; a vector that is written into it becomes a slot."""
        for piece in split_text(text, self.elm.spaces):
            if piece.space is None:
                self.question.text += piece.text
                continue
            self.check_count(1)
            point = expression_point(
                self.elm, self.elm.spaces[piece.space], piece.text, self.limits.characters, "messages"
            )
            self._insert(piece.space, point)

    def vector(self, part: VectorPart, param: str, slots: set[str], bindings: Mapping[str, Binding]) -> None:
        """Add a vector part: to the slot of the text with its name, or where it stands."""
        self.check_count(1)
        point = point_of(self.elm, part, self.limits.characters, param)
        name = part.slot or point.space.name
        if part.slot is not None and not _SLOT_NAME.fullmatch(part.slot):
            raise ApiError(400, f"a slot cannot be called {part.slot!r}", param=f"{param}.slot")
        if name in slots:
            if name in self.question.points or name in bindings:
                raise ApiError(400, f"slot {{{name}}} has two vectors; name their slots apart", param=f"{param}.slot")
            self.question.points[name] = point
        else:
            self._insert(name, point)

    def binding(self, slot: str, value: Binding) -> None:
        """Add a vector of `bindings`."""
        self.check_count(1)
        param, limit = f"bindings.{slot}", self.limits.characters
        if isinstance(value, VectorValue):
            space = None if value.space is not None else self.elm.space_of(slot, self.question.text)
            point = point_of(self.elm, value, limit, param, space)
        elif isinstance(value, str):
            name, sign, rest = value.partition(":")
            prefixed = bool(sign) and name.strip() in self.elm.spaces
            space = self.elm.spaces[name.strip()] if prefixed else self.elm.space_of(slot, self.question.text)
            point = point_of(self.elm, VectorValue(expression=rest.strip() if prefixed else value), limit, param, space)
        else:
            space = self.elm.space_of(slot, self.question.text)
            point = point_of(self.elm, VectorValue(values=value), limit, param, space)
        self.question.points[slot] = point

    def check_count(self, more: int = 0) -> None:
        """Raise an ApiError where there are too many vectors."""
        if len(self.question.points) + more > self.limits.vectors:
            raise ApiError(
                400, f"a request takes at most {self.limits.vectors} vectors", param="messages", code="too_many_vectors"
            )

    def _insert(self, name: str, point: Point) -> None:
        """Put a slot with a free name at the end of the text."""
        for known, other in self.question.points.items():
            if known not in self.names and other.space is point.space and np.array_equal(other.values, point.values):
                self.question.text += f"{{{known}}}"  # the same vector once more
                return
        free, number = name, 1
        while free in self.names or free in self.question.points:
            number += 1
            free = f"{name}_{number}"
        self.question.points[free] = point
        self.question.text += f"{{{free}}}"


def _check_roles(messages: Sequence[Message], history: bool) -> None:
    if not messages:
        raise ApiError(400, "messages is empty", param="messages", code="empty_question")
    for number, message in enumerate(messages):
        param = f"messages.{number}"
        if message.role in ("system", "developer"):
            if message.content:
                raise ApiError(
                    400,
                    f"a message of the {message.role} is not supported: the model was trained on questions alone",
                    param=param,
                    code="unsupported_message",
                )
        elif message.role not in ("user", "assistant"):
            raise ApiError(
                400, f"role is {message.role!r}; allowed are user and assistant", param=f"{param}.role",
                code="unsupported_message",
            )  # fmt: skip
    if messages[-1].role != "user":
        raise ApiError(
            400, "the last message must be of the user", param=f"messages.{len(messages) - 1}.role",
            code="unsupported_message",
        )  # fmt: skip
    roles = [message.role for message in messages if message.role in ("user", "assistant")]
    if history and roles != ["user" if n % 2 == 0 else "assistant" for n in range(len(roles))]:
        raise ApiError(
            400, "the messages of user and assistant must alternate, beginning and ending with the user",
            param="messages", code="unsupported_message",
        )  # fmt: skip
