"""`Chat`: a conversation about points; any front end may read the lines.

The chat keeps the bindings, the settings and the turns. With `history`, the LLM reads the earlier turns before each
question, with the vectors that were bound to them. Without it, the LLM reads each question alone, as in a training on
target texts.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from vectalk.concepts import shelf
from vectalk.errors import PromptError
from vectalk.files import write_text
from vectalk.space import Point, VectorSpace
from vectalk.talk.answer import Answer, report
from vectalk.talk.elm import ELM
from vectalk.talk.history import DROPPED, Exchange, dropped_note
from vectalk.tasks.suite import slots_in

MOST_OFFERS = 20  # most completions or wordings that are offered
_BINDING = re.compile(r"(?P<slot>[A-Za-z_]\w*)\s*=\s*(?P<value>.+)")


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        answer: the answer to the question.
        points: slot -> the point that the question is about.
        settings: the decoding settings of the answer.
        earlier: the turns that were given to the LLM before the question.
    """

    answer: Answer
    points: dict[str, Point]
    settings: dict[str, Any]
    earlier: tuple[Exchange, ...] = ()


@dataclass
class Chat:
    """A conversation.

    Attributes:
        elm: the model that answers.
        settings: decoding settings; the number of the turn is added to the seed.
        points: slot -> the point that is bound to it.
        turns: the questions and answers so far.
        history: whether the LLM reads the earlier turns; None for the default of the run.
        start: the first turn that the LLM reads; `/new` sets it.
        ended: whether the user ended the conversation.
    """

    elm: ELM
    settings: dict[str, Any] = field(default_factory=dict)
    points: dict[str, Point] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    history: bool | None = None
    start: int = 0
    ended: bool = False

    def __post_init__(self) -> None:
        if self.history is None:
            self.history = self.elm.reads_history

    def hear(self, line: str) -> Iterator[str | Answer]:
        """Process a line: a question, or a command that begins with a slash.

        Yields:
            Pieces of text as the model writes them, then the Answer to a question;
            `/why` yields an Answer with influence.

        Raises:
            VectalkError: the line cannot be processed; the conversation may continue.
        """
        line = line.strip()
        if not line:
            return
        if not line.startswith("/"):
            yield from self._ask(line)
            return
        name, _, rest = line[1:].partition(" ")
        if name not in COMMANDS:
            raise PromptError(
                f"there is no command /{name}; the commands are {', '.join('/' + known for known in COMMANDS)}"
            )
        yield from COMMANDS[name](self, rest.strip())

    def complete(self, line: str) -> list[str]:
        """Return texts that may replace the end of a line, from its last open quote or its slash."""
        if line.startswith("/") and " " not in line:
            return [f"/{name} " for name in COMMANDS if f"/{name}".startswith(line)]
        slot = _BINDING.match(line.partition(" ")[2])
        start = max(line.rfind("'"), line.rfind('"'))
        if slot is None or start < 0 or line.count(line[start]) % 2 == 0:
            return []
        beginning, quotation_mark = line[start + 1 :].casefold(), line[start]
        try:
            space = self.elm.space_of(slot["slot"], None)
        except PromptError:
            return []
        matches = (title for low, title in _titles(space) if low.startswith(beginning) and quotation_mark not in title)
        return [title for title, _ in zip(matches, range(MOST_OFFERS), strict=False)]

    # ---- commands

    def _ask(self, question: str) -> Iterator[str | Answer]:
        slots = list(dict.fromkeys(slots_in(question)))
        for slot in slots:
            if slot not in self.points:
                raise PromptError(
                    f"nothing is bound to {{{slot}}}; bind a point with /bind {slot} = 'a title or an expression'"
                )
        points = {slot: self.points[slot] for slot in slots}
        settings = {**self.settings, "seed": self.settings.get("seed", 0) + len(self.turns)}
        earlier = self._earlier(len(self.turns))
        for piece in self.elm.stream(question, points, history=earlier, **settings):
            if isinstance(piece, Answer):
                self.turns.append(Turn(piece, points, settings, earlier))
            yield piece
        dropped = self.turns[-1].answer.settings.get(DROPPED, 0)
        if dropped:
            yield f"\n({dropped_note(dropped)}; /new begins a new conversation)"

    def _earlier(self, end: int) -> tuple[Exchange, ...]:
        """Return the turns that the LLM reads before turn `end`; turns without an answer are left out."""
        turns = self.turns[self.start : end] if self.history else []
        return tuple(Exchange(t.answer.question, t.points, t.answer.text) for t in turns if t.answer.text)

    def _new(self, rest: str) -> Iterator[str]:
        """`/new`: begin a new conversation: the LLM no longer reads the turns so far; the bindings stay."""
        self.start = len(self.turns)
        yield "a new conversation" if self.history else "the LLM reads each question alone"

    def _bind(self, rest: str) -> Iterator[str]:
        """`/bind film = lerp('A', 'B', 0.4)`: bind a point to a slot; without arguments, list the bindings."""
        if not rest:
            yield "\n".join(f"{{{slot}}} = {point.source}" for slot, point in self.points.items()) or "nothing is bound"
            return
        binding = _BINDING.fullmatch(rest)
        if binding is None:
            raise PromptError(f"/bind takes SLOT = title, id or expression, not {rest!r}")
        point = self.elm.point(binding["slot"], binding["value"].strip())
        self.points[binding["slot"]] = point
        yield "".join(f"({note})\n" for note in point.notes)
        yield f"{{{binding['slot']}}} = {point.source}: {VectorSpace.of(point).support(point)}"

    def _near(self, rest: str) -> Iterator[str]:
        """`/near film 10`: list the real entities nearest to the bound point (5 unless you give a number)."""
        words = rest.split()
        count = int(words.pop()) if words and words[-1].isdigit() else 5
        point = self._point(words[0] if words else None)
        description = report(point, count)
        yield "\n".join(f"{near.similarity:6.3f}  {near.title}" for near in description.neighbors)

    def _concept(self, rest: str) -> Iterator[str]:
        """`/concept comedy film`: score the bound point on a concept; without arguments, list the concepts."""
        words = shlex.split(rest)
        if not words:
            for space in dict.fromkeys(map(VectorSpace.of, self.points.values())) or self.elm.spaces.values():
                yield f"{space.name}: {', '.join(shelf.names(space)) or 'no concepts'}\n"
            return
        point = self._point(words[1] if len(words) > 1 else None)
        concept = shelf.find(VectorSpace.of(point), words[0])
        score = float(concept.score(point))
        expression = f"{point.source} + concept('{concept.name}')"
        yield f"{point.source} lies {score:+.2f} sd along {concept.name!r}; move it by {expression}"

    def _why(self, rest: str) -> Iterator[Answer]:
        """`/why`: show which words of the last answer depend on the vector."""
        if not self.turns:
            raise PromptError("nothing was asked yet")
        turn = self.turns[-1]
        yield self.elm.ask(turn.answer.question, turn.points, influence=True, history=turn.earlier, **turn.settings)

    def _set(self, rest: str) -> Iterator[str]:
        """`/set temperature 0.7`: change a decoding setting; without arguments, list the changed settings."""
        words = rest.split()
        if words:
            if len(words) != 2:
                raise PromptError(f"/set takes a name and a value, not {rest!r}")
            try:
                value: Any = json.loads(words[1])
            except json.JSONDecodeError:
                value = words[1]
            if not isinstance(value, (int, float)):
                raise PromptError(f"{words[0]} takes a number, not {words[1]!r}")
            settings = {**self.settings, words[0]: value}
            self.elm.decoding(**settings)  # raises an error for a wrong setting
            self.settings = settings
        yield ", ".join(f"{name} {value}" for name, value in self.settings.items()) or "the default settings"

    def _history(self, rest: str) -> Iterator[str]:
        """`/history`: show the conversation so far."""
        yield self.to_markdown() or "nothing was asked yet"

    def _save(self, rest: str) -> Iterator[str]:
        """`/save talk.md`: write the conversation as Markdown, or with all details as `.jsonl`."""
        if not rest:
            raise PromptError("/save takes a file, such as /save talk.md or /save talk.jsonl")
        path = Path(rest).expanduser()
        lines = "".join(turn.answer.to_json() + "\n" for turn in self.turns)
        write_text(path, lines if path.suffix in (".jsonl", ".json") else self.to_markdown())
        yield f"{path}: {len(self.turns)} answers"

    def _ask_help(self, rest: str) -> Iterator[str]:
        """`/help`: list the commands."""
        yield "\n".join((command.__doc__ or "").strip() for command in COMMANDS.values())
        wordings = [prompt for task in self.elm.suite.tasks for prompt in task.prompts[:1]]
        yield "\nAsk, for example: " + "; ".join(wordings[:MOST_OFFERS])

    def _quit(self, rest: str) -> Iterator[str]:
        """`/quit`: end the conversation."""
        self.ended = True
        yield from ()

    def to_markdown(self) -> str:
        """Return the conversation as Markdown."""
        parts = []
        for turn in self.turns:
            about = [f"- `{{{slot}}}` = {slot_report.source}" for slot, slot_report in turn.answer.slots.items()]
            parts.append("\n".join([f"**{turn.answer.question}**", *about, "", turn.answer.text or "(no answer)"]))
        return "\n\n".join(parts) + ("\n" if parts else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the conversation as plain values."""
        return {"settings": self.settings, "turns": [asdict(turn.answer) for turn in self.turns]}

    def _point(self, slot: str | None) -> Point:
        if slot is None and len(self.points) == 1:
            return next(iter(self.points.values()))
        if slot not in self.points:
            bound = ", ".join(self.points) or "nothing: bind a point with /bind SLOT = 'a title'"
            raise PromptError(
                f"name one slot; bound are {bound}"
                if slot is None
                else f"slot {slot!r} is not bound; bound are {bound}"
            )
        return self.points[slot]


Command = Callable[[Chat, str], Iterator[Any]]
COMMANDS: dict[str, Command] = {
    "bind": Chat._bind,
    "near": Chat._near,
    "concept": Chat._concept,
    "why": Chat._why,
    "set": Chat._set,
    "history": Chat._history,
    "new": Chat._new,
    "save": Chat._save,
    "help": Chat._ask_help,
    "quit": Chat._quit,
}


@lru_cache(maxsize=4)
def _titles(space: VectorSpace) -> list[tuple[str, str]]:
    """Return (lower case, title) of all entities."""
    titles = [str(space.title(row)) for row in range(len(space))]
    return [(title.casefold(), title) for title in titles]
