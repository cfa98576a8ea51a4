"""Defaults of decoding: what a run stores in `decoding.json`, and what its LLM recommends for sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from vectalk.decoding.settings import Decoding
from vectalk.errors import PromptError, RunError
from vectalk.files import write_json
from vectalk.reading.cards import read_card, stamp

FILE, FORMAT = "decoding.json", 1


class _Card(BaseModel):
    """The fields of `decoding.json` that are read again."""

    repetition_penalty: float | None = Field(None, gt=0, allow_inf_nan=False)
    no_repeat_ngram_size: int | None = Field(None, ge=0)


def read_defaults(run: str | Path) -> dict[str, Any]:
    """Return the decoding settings that a run stores; an empty dictionary for a run without `decoding.json`.

    Raises:
        RunError: the file is malformed, or a newer version wrote it.
    """
    path = Path(run) / FILE
    if not path.is_file():
        return {}
    card: _Card = read_card(path, FORMAT, _Card, RunError)
    return card.model_dump(exclude_none=True)


def write_defaults(run: str | Path, settings: Mapping[str, Any], trials: Sequence[Mapping[str, Any]] = ()) -> None:
    """Store the default decoding settings of a run.

    Args:
        run: the folder of the run.
        settings: `repetition_penalty`, `no_repeat_ngram_size`.
        trials: the candidates that were compared, with their figures, for people who read the file.
    """
    write_json(Path(run) / FILE, {**stamp(FORMAT), **settings, "trials": [dict(trial) for trial in trials]})


def complete(
    settings: Mapping[str, Any], defaults: Mapping[str, Any], recommended: Mapping[str, Any] | None
) -> Decoding:
    """Return the decoding settings of an answer: what the caller says, and a value for everything else.

    What the caller leaves out has the default of the run, then the default of `Decoding`. With `sample`, the
    recommendation of the LLM comes between the two; without it, the recommendation is not used.

    Args:
        settings: fields of `Decoding`, and `sample`; None means that the caller does not say.
        defaults: the settings that the run stores.
        recommended: the settings that the LLM recommends for sampling; None where nobody knows them.

    Raises:
        PromptError: a setting is unknown, out of its range, or contradicts `sample`.
    """
    values = {name: value for name, value in settings.items() if value is not None}
    sample = values.pop("sample", False)
    if not isinstance(sample, bool):
        raise PromptError(f"sample is {sample!r}; allowed is True or False")
    sampling: dict[str, Any] = {}
    if sample:
        if values.get("temperature") == 0:
            raise PromptError("sample is set, but temperature is 0 (greedy); omit one of them")
        if recommended is None:
            raise PromptError(
                "sample is set, but this engine does not know what the LLM recommends; give temperature instead"
            )
        sampling = {"temperature": 1.0, **recommended}
    return Decoding.of({**sampling, **defaults, **values}).resolved(defaults)
