"""`space.json` and the files beside it: what a folder must hold to be opened as a space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from vectalk.errors import SpaceError
from vectalk.reading.arrays import read_parquet
from vectalk.reading.cards import read_card
from vectalk.space.checks import split_hash
from vectalk.space.importing.tables import is_text
from vectalk.space.importing.vector_files import open_vectors
from vectalk.space.neighbors import Metric
from vectalk.space.normalizer import Normalizer

FORMAT = 1
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

Mean = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Scale = Annotated[float, Field(ge=SMALLEST, le=LARGEST)]


class Scales(BaseModel):
    """Mean and scale of each dimension."""

    model_config = ConfigDict(allow_inf_nan=False)

    mean: list[Mean]
    scale: list[Scale]

    def fitted(self) -> Normalizer:
        """Return them as arrays."""
        return Normalizer(np.asarray(self.mean, np.float32), np.asarray(self.scale, np.float32))


class SpaceCard(BaseModel):
    """`space.json`; see `VectorSpace` for its fields."""

    model_config = ConfigDict(allow_inf_nan=False)

    name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    rows: int = Field(ge=1)
    dim: int = Field(ge=1)
    metric: Metric
    split_by: str
    split_rule: int | None = None
    fingerprint: str = Field(min_length=1)
    split_hash: str | None = None
    licence: str = ""
    encoder: str | None = None
    normalizer: Scales

    @property
    def rule(self) -> int | None:
        """The rule of the split; spaces made before the rules had numbers follow the first."""
        return self.split_rule if self.split_rule is not None or self.split_by == "given" else 1

    @classmethod
    def read(cls, folder: Path) -> SpaceCard:
        """Read the card of a folder.

        Raises:
            SpaceError: it is malformed, or of a newer format.
        """
        card: SpaceCard = read_card(folder / "space.json", FORMAT, cls, SpaceError)
        return card

    def open_vectors(self, folder: Path) -> np.ndarray:
        """Map the vectors [N, D] of a folder into memory.

        Raises:
            SpaceError: they are missing, broken, of another shape than the card says, or no floats.
        """
        stored = _stored(folder)
        try:
            vectors = open_vectors(stored)
        except SpaceError:
            raise
        except Exception as error:  # numpy lets through what its parser of headers raises
            raise SpaceError(f"{folder} is not a whole space: {error!r}; make it again") from None
        if not isinstance(vectors, np.ndarray) or vectors.shape != (self.rows, self.dim):
            raise SpaceError(
                f"{folder}: space.json says {self.rows} x {self.dim}, {stored.name} is {getattr(vectors, 'shape', '')}"
            )
        if vectors.dtype.kind != "f" or vectors.dtype.itemsize > 8:
            raise SpaceError(f"{stored} holds {vectors.dtype}; save the vectors as float32 or float16")
        for name, values in (("mean", self.normalizer.mean), ("scale", self.normalizer.scale)):
            if len(values) != self.dim:
                raise SpaceError(
                    f"{folder}/space.json is malformed: normalizer.{name} has {len(values)} numbers, dim is {self.dim}"
                )
        return vectors

    def check_entities(self, folder: Path) -> Path:
        """Return the file of the entities, whose columns are what they must be; no value is read.

        Raises:
            SpaceError: the file is missing or broken, or `id`, `split` or `title` are no text.
        """
        path = folder / "entities.parquet"
        try:
            metadata = pq.read_metadata(path)
            schema = metadata.schema.to_arrow_schema()
            names = schema.names
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SpaceError(f"{folder} is not a whole space: {error!r}; make it again") from None
        if metadata.num_rows != self.rows:
            raise SpaceError(
                f"{folder}: {_stored(folder).name} holds {self.rows} vectors, entities.parquet {metadata.num_rows} "
                "entities; row i of one must belong to row i of the other"
            )
        if len(set(names)) < len(names):
            raise SpaceError(f"{path} has two columns of the same name; make the space again")
        for name in ("id", "split", "title"):
            if name not in names and name != "title":
                raise SpaceError(f"{path} has no column {name!r}; it has {', '.join(names)}; make the space again")
            if name in names and not is_text(schema.field(name).type):
                raise SpaceError(f"{path}: column {name!r} holds {schema.field(name).type}, no text; make it again")
        return path

    def hash_of_split(self, entities: Path) -> str:
        """Return the hash of the split; computed for old spaces, which do not store it."""
        return self.split_hash or split_hash(read_parquet(entities, ["split"], error=SpaceError)["split"])


def _stored(folder: Path) -> Path:
    """Return the file of a folder's vectors."""
    other = folder / "vectors.safetensors"
    return other if other.is_file() else folder / "vectors.npy"
