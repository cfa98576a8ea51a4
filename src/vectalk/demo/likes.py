"""Who likes these films? A few liked films give the vector of a viewer, and the model describes this viewer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vectalk.space.factorization.likes import Visitor, fold_in, read_settings
from vectalk.talk import ELM, Answer


def who_likes(elm: ELM, data: Path, titles: Sequence[str], question: str) -> tuple[Visitor, Answer]:
    """Compute the visitor who likes some films, and ask the model about the visitor."""
    visitor = fold_in(elm.spaces["film"], elm.spaces["user"], titles, read_settings(data))
    return visitor, elm.ask(question, {"user": visitor.point})
