"""Who likes these films? The model of the demo says who a visitor is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vectalk.space.factorization.likes import Visitor, fold_in, read_settings
from vectalk.talk import ELM, Answer


def who_likes(elm: ELM, data: Path, titles: Sequence[str], question: str) -> tuple[Visitor, Answer]:
    """Fold a visitor in and ask the model who that is."""
    visitor = fold_in(elm.spaces["film"], elm.spaces["user"], titles, read_settings(data))
    return visitor, elm.ask(question, {"user": visitor.point})
