"""What a point needs to know of the space that it lies in."""

from typing import Protocol

from vectalk.space.normalizer import Normalizer


class Frame(Protocol):
    """The coordinates of a space and the names of its rows; `VectorSpace` is one.

    Attributes:
        name: of the space.
        fingerprint: of its ids and vectors: points of one fingerprint may be combined.
        normalizer: mean and scale of its vectors.
    """

    name: str
    fingerprint: str
    normalizer: Normalizer

    @property
    def dim(self) -> int:
        """Vector dimension D."""
        ...

    def title(self, row: int) -> str:
        """Return the title of a row."""
        ...
