"""Evaluation: how much of the information in a vector reaches the answers, with controls and intervals."""

from vectalk.evaluation.answers import Generator
from vectalk.evaluation.conditions import CONDITIONS
from vectalk.evaluation.evaluate import evaluate
from vectalk.evaluation.probes.probe import Probe
from vectalk.evaluation.questions import evaluate_questions
from vectalk.evaluation.ratings import Ratings, find_ratings
from vectalk.evaluation.result import Evaluation
from vectalk.evaluation.settings import Settings
from vectalk.evaluation.text_llm import Chat, ClientChat

__all__ = [
    "CONDITIONS",
    "Chat",
    "ClientChat",
    "Evaluation",
    "Generator",
    "Probe",
    "Ratings",
    "Settings",
    "evaluate",
    "evaluate_questions",
    "find_ratings",
]
