"""The tools that an assistant gets through the Model Context Protocol: describe, compare, neighbors, support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from vectalk.errors import VectalkError
from vectalk.serving.errors import ApiError
from vectalk.serving.limits import Limits
from vectalk.serving.vectors import checked, expression_point, space_named
from vectalk.space import Point, VectorSpace
from vectalk.talk import ELM, Answer
from vectalk.talk.elm import report
from vectalk.tasks.suite import slots_in
from vectalk.version import __version__

INSTRUCTIONS = """Vectors of an embedding space, read by a language model that was trained on them. A point is an
expression: a title or id in quotes, 'Alien (1979)'; a blend, lerp('A', 'B', 0.5) or mean('A', 'B', 'C'); an analogy,
analogy('A', 'B', 'C'); or a sum, 'A' + 2 * concept('comedy'). Every answer tells its support: where the verdict is
`far`, the vector is out of distribution and the text must not be trusted."""


class Tools:
    """The tools of one model; each returns plain values.

    Args:
        elm: the model.
        limits: length of expressions and answers.
    """

    def __init__(self, elm: ELM, limits: Limits | None = None) -> None:
        self.elm, self.limits = elm, limits or Limits()

    def describe(self, point: str, space: str | None = None, question: str | None = None) -> dict[str, Any]:
        """Describe a point of a space in words, or answer a question about it.

        Args:
            point: a title or id in quotes, or an expression such as lerp('A', 'B', 0.5).
            space: name of the space; may be omitted where there is only one.
            question: a question with one slot, such as "Who would enjoy {film}?"; a general one when omitted.
        """
        bound = self._point(point, space)
        question = question or self._wording([bound.space.name])
        slots = list(dict.fromkeys(slots_in(question)))
        if len(slots) != 1:
            raise ToolError(f"the question needs one slot, such as {{{bound.space.name}}}; it has {len(slots)}")
        return self._ask(question, {slots[0]: bound})

    def compare(self, first: str, second: str, space: str | None = None, question: str | None = None) -> dict[str, Any]:
        """Say what two points of a space have in common, or answer a question about both.

        Args:
            first: a title or id in quotes, or an expression.
            second: another one.
            space: name of the space; may be omitted where there is only one.
            question: a question with two slots, such as "How do {a} and {b} differ?"; a general one when omitted.
        """
        points = [self._point(first, space), self._point(second, space)]
        question = question or self._wording([point.space.name for point in points])
        slots = list(dict.fromkeys(slots_in(question)))
        if len(slots) != 2:
            raise ToolError(f"the question needs two slots, such as {{a}} and {{b}}; it has {len(slots)}")
        return self._ask(question, dict(zip(slots, points, strict=True)))

    def neighbors(self, point: str, space: str | None = None, count: int = 10) -> dict[str, Any]:
        """List the real entities that are nearest to a point of a space.

        Args:
            point: a title or id in quotes, or an expression.
            space: name of the space; may be omitted where there is only one.
            count: how many, from 1 to 100.
        """
        if not 1 <= count <= 100:
            raise ToolError(f"count is {count}; allowed is 1 to 100")
        described = report(self._point(point, space), count)
        return {"source": described.source, "neighbors": [asdict(near) for near in described.neighbors]}

    def support(self, point: str, space: str | None = None) -> dict[str, Any]:
        """Say whether a point is as near to real entities as they are to each other, or out of distribution.

        Args:
            point: a title or id in quotes, or an expression.
            space: name of the space; may be omitted where there is only one.
        """
        bound = self._point(point, space)
        support = VectorSpace.of(bound).support(bound)
        return {"source": bound.source, "support": {**asdict(support), "text": str(support)}}

    def _point(self, expression: str, space: str | None) -> Point:
        try:
            opened = space_named(self.elm, space)
            return checked(expression_point(self.elm, opened, expression, self.limits.characters, "point"), "point")
        except (ApiError, VectalkError) as error:
            raise ToolError(str(error)) from None

    def _wording(self, spaces: list[str]) -> str:
        """Return a question that the model was trained on, about points of these spaces; else a general one."""
        for task in self.elm.suite.tasks:
            if list(task.slots.values()) == spaces and (len(spaces) > 1 or task.about in task.slots):
                return task.prompts[0]
        return f"Describe {{{spaces[0]}}}." if len(spaces) == 1 else "What do {a} and {b} have in common?"

    def _ask(self, question: str, points: Mapping[str, Point]) -> dict[str, Any]:
        try:
            answer = self.elm.ask(question, dict(points), max_new_tokens=self.limits.default_tokens)
        except VectalkError as error:
            raise ToolError(str(error)) from None
        assert isinstance(answer, Answer)
        return {
            "text": answer.text,
            "question": question,
            "complete": answer.finished,
            "points": {
                slot: {"source": one.source, "support": str(one.support), "verdict": one.support.verdict,
                       "neighbors": [near.title for near in one.neighbors], "notes": list(one.notes)}
                for slot, one in answer.slots.items()
            },
        }  # fmt: skip


def make_tool_server(elm: ELM, name: str, limits: Limits | None = None) -> MCPServer:
    """Return the server of the tools of a model; `run()` speaks over stdin and stdout."""
    spaces = ", ".join(f"{space.name} ({len(space)} vectors)" for space in elm.spaces.values())
    instructions = f"{INSTRUCTIONS}\nSpaces: {spaces}."
    server: MCPServer = MCPServer(f"vectalk: {name}", instructions=instructions, version=__version__)
    tools = Tools(elm, limits)
    for tool in (tools.describe, tools.compare, tools.neighbors, tools.support):
        server.tool()(tool)
    return server
