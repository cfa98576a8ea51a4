"""The little language of points: `lerp('Alien (1979)', 'Annie Hall (1977)', 0.5)`. One parser, no `eval`.

    sum     := product (("+" | "-") product)*
    product := unary ("*" unary)*
    unary   := "-" unary | atom
    atom    := NUMBER | QUOTED | NAME "(" [sum ("," sum)*] ")" | NAME | "(" sum ")"

A NAME is of letters, digits and underscores, so that `a-b` is a difference; any other name is quoted. A quoted name
is an entity, except as the argument of a function that takes text, such as `text("...")`. The functions are an argument
of the parser, so that later rooms can add their own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vectalk.errors import ExpressionError, VectalkError
from vectalk.space import geometry
from vectalk.space.frame import Frame
from vectalk.space.point import Point, blended
from vectalk.space.titles import closest

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)"""
    r"""|(?P<quoted>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>[-+*(),]))"""
)


class Entities(Frame, Protocol):
    """A space whose entities have names; `VectorSpace` is one."""

    def __getitem__(self, key: str) -> Point:
        """Return the point of an entity."""
        ...


@dataclass(frozen=True)
class Name:
    """A quoted or bare name that has not been looked up yet: an entity, or the text argument of a function."""

    text: str


Function = Callable[..., Point]


def evaluate(
    text: str,
    space: Entities,
    functions: Mapping[str, Function] | None = None,
    names: Mapping[str, Point] | None = None,
) -> Point:
    """Evaluate an expression to a point of `space`.

    Args:
        text: the expression.
        space: where quoted names are looked up.
        functions: extra functions by name; each takes the space, then its arguments: points, numbers, or a
            `Name` where a bare or quoted name was written.
        names: points that a bare name stands for, e.g. the slots of a prompt.

    Raises:
        ExpressionError: the expression is malformed, with its position.
        UnknownEntityError: a quoted name is not in the space, with the closest matches.
    """
    try:
        return _Parser(text, space, {**FUNCTIONS, **(functions or {})}, names or {}).parse()
    except RecursionError:
        raise ExpressionError("the expression has too many brackets or signs inside each other") from None


class _Parser:
    def __init__(
        self, text: str, space: Entities, functions: Mapping[str, Function], names: Mapping[str, Point]
    ) -> None:
        self.text, self.space, self.functions, self.names = text, space, functions, names
        self.tokens = list(self._tokenise())
        self.at = 0

    def _tokenise(self) -> Any:
        position, text = 0, self.text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                rest = text[position:].lstrip()
                advice = "; a title that holds ' must be in double quotes, and vice versa"
                quote = rest.startswith(("'", '"'))
                raise self._error(f"unexpected {rest[:12]!r}{advice if quote else ''}", position)
            position = match.end()
            yield match.lastgroup, match.group(match.lastgroup or 0), match.start(match.lastgroup or 0)

    def _error(self, problem: str, position: int) -> ExpressionError:
        return ExpressionError(
            f"expression {self.text!r}, position {position}: {problem}; "
            "write e.g. 'Alien (1979)', lerp('A', 'B', 0.5), mean('A', 'B') or 'A' + 0.5 * ('B' - 'C')"
        )

    def _peek(self) -> tuple[str, str, int]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "the end", len(self.text))

    def _take(self, sign: str) -> bool:
        if self._peek()[:2] == ("sign", sign):
            self.at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            _, token, position = self._peek()
            raise self._error(f"expected {sign!r}, found {token!r}", position)

    def parse(self) -> Point:
        value = self._sum()
        kind, token, position = self._peek()
        if kind != "end":
            raise self._error(f"expected an operator, found {token!r}", position)
        return self._point(value, 0)

    def _sum(self) -> Any:
        value = self._product()
        while True:
            position = self._peek()[2]
            if self._take("+"):
                value = self._combine(value, self._product(), position, lambda a, b: a + b)
            elif self._take("-"):
                value = self._combine(value, self._product(), position, lambda a, b: a - b)
            else:
                return value

    def _combine(self, a: Any, b: Any, position: int, operation: Callable[[Any, Any], Any]) -> Any:
        if isinstance(a, float) and isinstance(b, float):
            return operation(a, b)
        return operation(self._point(a, position), self._point(b, position))

    def _product(self) -> Any:
        value = self._unary()
        while True:
            position = self._peek()[2]
            if not self._take("*"):
                return value
            other = self._unary()
            if not isinstance(value, float) and not isinstance(other, float):
                raise self._error("'*' takes a number and a point, not two points", position)
            a, b = (value, other) if isinstance(value, float) else (other, value)
            value = a * b if isinstance(b, float) else self._point(b, position) * a

    def _unary(self) -> Any:
        position = self._peek()[2]
        if self._take("-"):
            value = self._unary()
            return -value if isinstance(value, float) else -self._point(value, position)
        return self._atom()

    def _atom(self) -> Any:
        kind, token, position = self._peek()
        self.at += 1
        if kind == "number":
            return float(token)
        if kind == "quoted":
            return Name(re.sub(r"\\(.)", r"\1", token[1:-1]))
        if kind == "name":
            return self._call(token, position) if self._take("(") else self.names.get(token, Name(token))
        if kind == "sign" and token == "(":
            value = self._sum()
            self._expect(")")
            return value
        raise self._error(f"expected a title in quotes, a number or a function, found {token!r}", position)

    def _call(self, name: str, position: int) -> Point:
        arguments: list[Any] = []
        if not self._take(")"):
            arguments.append(self._sum())
            while self._take(","):
                arguments.append(self._sum())
            self._expect(")")
        if name not in self.functions:
            near = closest(name, list(self.functions)) or sorted(self.functions)
            raise self._error(f"unknown function {name!r}; did you mean {', '.join(near)}?", position)
        try:
            return self.functions[name](self.space, *arguments)
        except VectalkError:
            raise
        except (ValueError, OverflowError) as error:
            raise self._error(f"{name}(...) cannot be computed: {error}", position) from None
        except TypeError as error:
            takes = ", ".join(list(inspect.signature(self.functions[name]).parameters)[1:])
            problem = f"it takes ({takes})" if "argument" in str(error) else str(error)
            raise self._error(f"{name}(...) has wrong arguments: {problem}", position) from None

    def _point(self, value: Any, position: int) -> Point:
        if isinstance(value, float):
            raise self._error(f"expected a point, found the number {value:g}", position)
        return as_point(self.space, value)


def quoted(text: str) -> str:
    """Return a name in quotes, so that the parser reads it back as it is."""
    # Not `repr`, which writes a no-break space as an escape that the parser does not know.
    quote = '"' if "'" in text else "'"
    escaped = text.replace("\\", r"\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"


def as_point(space: Entities, value: Any) -> Point:
    """Turn an argument of a function into a point: look a name up, pass a point through."""
    if isinstance(value, Name):
        return space[value.text]
    if isinstance(value, Point):
        return value
    raise TypeError(f"expected a title in quotes or a point, not {value!r}")


def as_number(value: Any) -> float:
    """Return an argument that must be a number."""
    if not isinstance(value, float):
        raise TypeError(f"expected a number, not {getattr(value, 'text', value)!r}")
    return value


def blend(name: str, points: list[Point], values: np.ndarray, *extra: float) -> Point:
    """Return the result of a function of other points; its source names the function and the points."""
    written = ", ".join([p.source for p in points] + [f"{e:g}" for e in extra])
    return blended(points, values, f"{name}({written})")


def _between(name: str, move: Callable[[np.ndarray, np.ndarray, float], np.ndarray]) -> Function:
    def function(space: Entities, a: Any, b: Any, t: Any) -> Point:
        pa, pb, share = as_point(space, a), as_point(space, b), as_number(t)
        return blend(name, [pa, pb], move(pa.values, pb.values, share), share)

    return function


def _mean(space: Entities, *values: Any) -> Point:
    points = [as_point(space, value) for value in values]
    if not points:
        raise TypeError("mean needs at least one point")
    return blend("mean", points, geometry.mean([p.values for p in points]))


def _analogy(space: Entities, a: Any, b: Any, c: Any) -> Point:
    points = [as_point(space, value) for value in (a, b, c)]
    return blend("analogy", points, geometry.analogy(*(p.values for p in points)))


def _random(space: Entities, seed: Any = 0.0) -> Point:
    """Return a random point without an entity: Gaussian, with the mean and scale of the training entities."""
    number = as_number(seed)
    if number < 0 or not number.is_integer():
        raise TypeError(f"the seed must be a whole number from 0 on, not {number:g}")
    normal = np.random.default_rng(int(number)).standard_normal(space.dim)
    return Point(space.normalizer.inverse(normal), space, f"random({int(number)})")


FUNCTIONS: dict[str, Function] = {
    "lerp": _between("lerp", geometry.lerp),
    "slerp": _between("slerp", geometry.slerp),
    "mean": _mean,
    "analogy": _analogy,
    "random": _random,
}
