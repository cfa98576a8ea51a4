"""`concept.json` and the file of the direction; both are checked when a concept is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vectalk.concepts.directions import Method
from vectalk.concepts.statistics import Statistics
from vectalk.errors import ConceptError
from vectalk.reading.arrays import read_tensors
from vectalk.reading.cards import read_card

FORMAT = 1

Number = Annotated[float, Field(ge=-1e30, le=1e30)]


class ConceptCard(BaseModel):
    """`concept.json`; see `Concept` for its fields."""

    model_config = ConfigDict(allow_inf_nan=False)

    name: str
    given: str
    fingerprint: str
    split_hash: str
    method: Method
    strength: Number
    mean: Number
    deviation: Number = Field(gt=0)
    statistics: Statistics

    @field_validator("statistics")
    @classmethod
    def _check_auc(cls, statistics: Statistics) -> Statistics:
        if len({value is None for value in (statistics.auc, statistics.low, statistics.high)}) > 1:
            raise ValueError("auc, low and high must all be numbers, or all null")
        return statistics

    @classmethod
    def read(cls, folder: Path) -> ConceptCard:
        """Read the card of a folder.

        Raises:
            ConceptError: the card is malformed, or has a newer format.
        """
        card: ConceptCard = read_card(folder / "concept.json", FORMAT, cls, ConceptError)
        return card

    def direction(self, folder: Path, dim: int) -> np.ndarray:
        """Read the direction [D] of a folder.

        Raises:
            ConceptError: the file is missing, damaged, or has another dimension.
        """
        try:
            tensors = read_tensors(folder / "direction.safetensors", {"direction": (dim,)}, ConceptError)
        except ConceptError as error:
            raise ConceptError(f"{folder} is not a complete concept: {error}; fit it again") from None
        return np.asarray(tensors["direction"], np.float32)
