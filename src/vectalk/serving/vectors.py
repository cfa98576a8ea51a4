"""Vectors that a client sends: an expression, numbers, or base64 of little-endian float32."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vectalk.errors import VectalkError
from vectalk.serving.errors import ApiError, code_of
from vectalk.space import Point, VectorSpace
from vectalk.space.titles import closest
from vectalk.talk import ELM

MOST_NUMBERS = 65_536
MOST_DEVIATIONS = 1e4  # from the mean of a space; farther vectors overflow in half precision


class VectorValue(BaseModel):
    """A vector of a space, given by exactly one of `expression`, `values` and `base64`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    space: str | None = Field(None, description="Name of the space; may be omitted where the run has only one.")
    expression: str | None = Field(
        None, description="Title, id or expression, such as `lerp('Alien (1979)', 'Heat (1995)', 0.5)`."
    )
    values: list[float] | None = Field(None, max_length=MOST_NUMBERS, description="The D numbers of the vector.")
    base64: str | None = Field(None, description="Base64 of the D numbers as little-endian float32.")


class VectorPart(VectorValue):
    """A content part that puts a vector into a message."""

    type: Literal["vector"]
    slot: str | None = Field(None, description="The slot of the text that the vector fills, such as `a` for {a}.")


class TextPart(BaseModel):
    """A content part of text; slots such as {film} take their vectors from `bindings` or from vector parts."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text"]
    text: str


def space_named(elm: ELM, name: str | None, param: str = "space") -> VectorSpace:
    """Return a space of the run by its name.

    Raises:
        ApiError: there is no such space, or several where none is named.
    """
    if name is None:
        if len(elm.spaces) == 1:
            return next(iter(elm.spaces.values()))
        raise ApiError(400, f"name the space of the vector: {', '.join(elm.spaces)}", param=param, code="no_space")
    if name not in elm.spaces:
        near = closest(name, elm.spaces) or list(elm.spaces)
        raise ApiError(
            400, f"there is no space {name!r}; did you mean {', '.join(near)}?", param=param, code="unknown_space"
        )
    return elm.spaces[name]


def point_of(elm: ELM, value: VectorValue, most_characters: int, param: str, space: VectorSpace | None = None) -> Point:
    """Return the point of a vector.

    Args:
        elm: the model, which looks expressions up.
        value: the vector.
        most_characters: longest expression.
        param: the parameter that errors name.
        space: the space, where the place of the vector tells it; `value.space` must not contradict it.

    Raises:
        ApiError: the vector is malformed or out of range.
        VectalkError: its expression is.
    """
    if space is not None and value.space not in (None, space.name):
        raise ApiError(400, f"space is {value.space!r}, but {space.name!r} is addressed", param=param)
    space = space or space_named(elm, value.space, f"{param}.space")
    sources = [value.expression is not None, value.values is not None, value.base64 is not None]
    if sum(sources) != 1:
        raise ApiError(
            400, "a vector takes exactly one of expression, values and base64", param=param, code="invalid_vector"
        )
    if value.expression is not None:
        return checked(expression_point(elm, space, value.expression, most_characters, param), param)
    numbers = np.asarray(value.values, np.float64) if value.values is not None else _decoded(value.base64 or "", param)
    if not np.isfinite(numbers).all():
        raise ApiError(400, "the vector holds NaN or infinity", param=param, code="invalid_vector")
    if numbers.shape != (space.dim,):
        raise ApiError(
            400,
            f"a vector of space {space.name!r} has {space.dim} numbers, this one has {len(numbers)}",
            param=param,
            code="invalid_vector",
        )
    check_range(numbers, space, param)
    return Point(numbers.astype(np.float32), space, "the given vector")


def expression_point(elm: ELM, space: VectorSpace, text: str, most_characters: int, param: str) -> Point:
    """Return the point of an expression in a space."""
    if len(text) > most_characters:
        raise ApiError(400, f"the expression has {len(text)} characters; allowed are {most_characters}", param=param)
    try:
        return elm.point(space.name, f"{space.name}:{text}")
    except VectalkError as error:
        message = str(error).replace(f" at {space.path}", "")  # clients need not know the folders of the server
        raise ApiError(400, message, param=param, code=code_of(error)) from None


def checked(point: Point, param: str) -> Point:
    """Return a point whose numbers are in range."""
    check_range(point.values, VectorSpace.of(point), param)
    return point


def check_range(numbers: np.ndarray, space: VectorSpace, param: str) -> None:
    """Raise an ApiError where a number is so far from the mean of its space that arithmetic overflows."""
    scale = np.maximum(np.asarray(space.normalizer.scale, np.float64), 1e-12)
    numbers = np.asarray(numbers, np.float64)  # 32 bits overflow
    with np.errstate(over="ignore"):  # infinitely many are too many, too
        deviations = float(np.max(np.abs(numbers - space.normalizer.mean) / scale, initial=0.0))
    largest = float(np.max(np.abs(numbers), initial=0.0))
    if deviations > MOST_DEVIATIONS and largest > MOST_DEVIATIONS * float(np.median(scale)):
        raise ApiError(
            400,
            f"the vector is {deviations:.3g} standard deviations from the mean of space {space.name!r}; allowed are "
            f"{MOST_DEVIATIONS:g}",
            param=param,
            code="invalid_vector",
        )


def encoded(vector: np.ndarray) -> str:
    """Return base64 of a vector [D] as little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode("ascii")


def _decoded(text: str, param: str) -> np.ndarray:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, "base64 is malformed", param=param, code="invalid_vector") from None
    if len(data) % 4:
        raise ApiError(
            400, f"base64 holds {len(data)} bytes, which is no multiple of 4 (float32)", param=param,
            code="invalid_vector",
        )  # fmt: skip
    return np.frombuffer(data, "<f4").astype(np.float64)
