"""The files of an evaluation: the fields that each row and card must have. Every file is checked before use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vectalk.errors import EvaluationError
from vectalk.files import read_json
from vectalk.reading.cards import checked, read_rows, refuse_newer
from vectalk.reading.fields import Figure

FORMAT = 1  # of `config.json`, `curves.json` and `key.json`, and of the rows beside them

Row = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class Interval(_Strict):
    """A figure with its interval. All three are None if the figure is not defined; the ends are None together."""

    value: Figure | None
    low: Figure | None
    high: Figure | None

    @model_validator(mode="after")
    def _check_ends(self) -> Interval:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high must both be numbers, or both null")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class MetricRow(Interval):
    """A row of `metrics.jsonl`."""

    space: str
    task: str
    metric: str
    condition: str
    n: int = Field(ge=0)


class CurveRow(MetricRow):
    """A row of `curves.jsonl`; `x` is null at the last point of a cold-start curve, which uses all ratings."""

    curve: str
    subject: str | None
    x: Figure | None


class EntityOf(_Strict):
    """The entity in a slot."""

    row: int | None = None
    title: str | None = None


class AnswerRow(_Strict):
    """A row of `answers.jsonl`; the scores of the answer are optional."""

    task: str
    condition: str
    prompt: str
    slots: dict[str, EntityOf]
    answer: str
    reference: str
    sc: Figure | None = None
    true: Figure | None = None


class CurveAnswerRow(_Strict):
    """A row of `curves_answers.jsonl`; a row of a walk has the titles of both ends."""

    curve: str
    space: str
    task: str
    condition: str
    subject: str | None
    x: Figure | None
    answer: str
    sc: float | None
    at: list[Figure] = Field(min_length=2, max_length=2)
    ends: list[str] | None = Field(None, min_length=2, max_length=2)

    @model_validator(mode="after")
    def _check_walk(self) -> CurveAnswerRow:
        if self.curve == "interpolation" and (self.x is None or self.ends is None):
            raise ValueError("a row of a walk must have x and ends")
        return self


class Crossing(_Strict):
    """The number of ratings from which a condition stays above popularity; null if it never does."""

    task: str
    metric: str
    condition: str
    above: Figure | Literal["all"] | None
    surely: Figure | Literal["all"] | None


class CurvesCard(_Strict):
    """`curves.json`: the fields that other code reads."""

    crossings: list[Crossing] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    sizes: dict[str, Any] = Field(default_factory=dict)


class LlmOf(_Strict):
    """The base LLM of a run."""

    name: str
    trained: str
    revision: str | None = None
    fingerprint: str | None = None


class RunOf(_Strict):
    """The run that was evaluated."""

    path: str | None
    identity: str
    llm: LlmOf | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class SpaceOf(_Strict):
    """A space of the corpus of an evaluation."""

    dim: int
    fingerprint: str
    split_hash: str


class CorpusOf(_Strict):
    """The corpus of an evaluation."""

    suite: str
    teacher: str
    counts: dict[str, int]
    spaces: dict[str, SpaceOf]


class ReadBackOf(_Strict):
    """The read-back that scored the answers of a task."""

    encoder: str
    r2: Figure | None


class EvaluationCard(_Strict):
    """`config.json`: the fields that other code reads."""

    vectalk: str
    python: str
    corpus: CorpusOf
    date: str = ""
    run: RunOf = RunOf(path=None, identity="")
    tasks: list[str] = Field(default_factory=list)
    readback: dict[str, ReadBackOf] = Field(default_factory=dict)
    not_run: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    limit: int | None = None
    encoder: str = ""
    same_encoder: bool | None = None
    readback_texts: int = 0
    ratings: str | None = None
    seed: int = 0
    max_new_tokens: int = 0
    conditions: list[str] = Field(default_factory=list)


class MapOf(_Strict):
    """A space in `map.json`: positions, titles and attribute values of its test entities."""

    share: list[Figure]
    titles: list[str]
    places: list[list[Figure]]
    values: dict[str, list[Any]]

    @model_validator(mode="after")
    def _check_lengths(self) -> MapOf:
        if any(len(place) != 2 for place in self.places):
            raise ValueError("each place must have two coordinates")
        if any(len(column) != len(self.places) for column in (self.titles, *self.values.values())):
            raise ValueError("titles and values must have one entry for each place")
        return self


class QuestionOf(_Strict):
    """The ratings for one question."""

    name: str
    text: str
    means: dict[str, Interval]
    alpha: Figure | None
    sc: Interval


class RatingsCard(_Strict):
    """`ratings.json`."""

    raters: list[str]
    n: int
    conditions: list[str]
    questions: list[QuestionOf]

    @model_validator(mode="after")
    def _check_means(self) -> RatingsCard:
        if any(set(self.conditions) - set(question.means) for question in self.questions):
            raise ValueError("each question must have a mean for each condition")
        return self


def rows_of(folder: Path, name: str) -> list[Row]:
    """Return the rows of a file of an evaluation or of curves; an empty list if the file is missing.

    Raises:
        EvaluationError: a row is malformed.
    """
    path = folder / name
    return read_rows(path, ROWS[name], EvaluationError) if path.is_file() else []


def card_of(folder: Path, name: str) -> Any:
    """Check a JSON file of an evaluation or of curves, and return its content unchanged.

    Raises:
        EvaluationError: the file is missing or malformed, or a newer version wrote it.
    """
    values = read_json(folder / name, EvaluationError)
    refuse_newer(values, FORMAT, folder / name, EvaluationError)
    checked(values, CARDS[name], folder / name, EvaluationError)
    return values


ROWS: dict[str, type[BaseModel]] = {
    "metrics.jsonl": MetricRow,
    "answers.jsonl": AnswerRow,
    "curves.jsonl": CurveRow,
    "curves_answers.jsonl": CurveAnswerRow,
}
CARDS: dict[str, Any] = {
    "config.json": EvaluationCard,
    "curves.json": CurvesCard,
    "map.json": dict[str, MapOf],
    "ratings.json": RatingsCard,
}
