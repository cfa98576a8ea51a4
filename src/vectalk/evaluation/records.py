"""The files of an evaluation: what each row and card must hold before anything is made of it."""

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
    """A figure with its interval; none of the three where it is not defined, no ends where only they are not."""

    value: Figure | None
    low: Figure | None
    high: Figure | None

    @model_validator(mode="after")
    def _ends_go_together(self) -> Interval:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high must both be numbers, or both null")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low lies above high")
        return self


class MetricRow(Interval):
    """A row of `metrics.jsonl`."""

    space: str
    task: str
    metric: str
    condition: str
    n: int = Field(ge=0)


class CurveRow(MetricRow):
    """A row of `curves.jsonl`; `x` is null at the end of a curve, with all there is."""

    curve: str
    subject: str | None
    x: Figure | None


class EntityOf(_Strict):
    """What stood in a slot."""

    row: int | None = None
    title: str | None = None


class AnswerRow(_Strict):
    """A row of `answers.jsonl`; it may carry figures of its own."""

    task: str
    condition: str
    prompt: str
    slots: dict[str, EntityOf]
    answer: str
    reference: str
    sc: Figure | None = None
    true: Figure | None = None


class CurveAnswerRow(_Strict):
    """A row of `curves_answers.jsonl`; a walk between two entities names its ends."""

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
    def _a_walk_is_whole(self) -> CurveAnswerRow:
        if self.curve == "interpolation" and (self.x is None or self.ends is None):
            raise ValueError("a stop of a walk has an x and the ends of the walk")
        return self


class Crossing(_Strict):
    """From how many ratings on a condition lies above popularity; null where it never does."""

    task: str
    metric: str
    condition: str
    above: Figure | Literal["all"] | None
    surely: Figure | Literal["all"] | None


class CurvesCard(_Strict):
    """`curves.json`, as far as it is read again."""

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
    """A space of the corpus that was evaluated on."""

    dim: int
    fingerprint: str
    split_hash: str


class CorpusOf(_Strict):
    """The corpus that was evaluated on."""

    suite: str
    teacher: str
    counts: dict[str, int]
    spaces: dict[str, SpaceOf]


class ReadBackOf(_Strict):
    """A read-back that answers were judged by."""

    encoder: str
    r2: Figure | None


class EvaluationCard(_Strict):
    """`config.json`, as far as it is read again."""

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
    """A space in `map.json`: places, titles and values of its test entities."""

    share: list[Figure]
    titles: list[str]
    places: list[list[Figure]]
    values: dict[str, list[Any]]

    @model_validator(mode="after")
    def _of_one_length(self) -> MapOf:
        if any(len(place) != 2 for place in self.places):
            raise ValueError("a place has two coordinates")
        if any(len(column) != len(self.places) for column in (self.titles, *self.values.values())):
            raise ValueError("titles and values have an entry for each place")
        return self


class QuestionOf(_Strict):
    """What raters said to one question."""

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
    def _each_has_a_mean(self) -> RatingsCard:
        if any(set(self.conditions) - set(question.means) for question in self.questions):
            raise ValueError("a question lacks the mean of a condition")
        return self


def rows_of(folder: Path, name: str) -> list[Row]:
    """Return the rows of a file of an evaluation or of curves; none where the file is missing.

    Raises:
        EvaluationError: a row is malformed.
    """
    path = folder / name
    return read_rows(path, ROWS[name], EvaluationError) if path.is_file() else []


def card_of(folder: Path, name: str) -> Any:
    """Return the content of a JSON file of an evaluation or of curves as it is, if it is well formed.

    Raises:
        EvaluationError: it is missing or malformed, or a newer version wrote it.
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
