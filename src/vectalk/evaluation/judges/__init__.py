"""Judges: people and language models rate texts without knowing which condition wrote them."""

from vectalk.evaluation.judges.judge import Judge
from vectalk.evaluation.judges.scores import score
from vectalk.evaluation.judges.sheet import QUESTIONS, Sheet, write_sheet

__all__ = ["QUESTIONS", "Judge", "Sheet", "score", "write_sheet"]
