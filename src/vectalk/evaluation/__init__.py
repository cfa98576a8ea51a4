"""How much of a vector an answer tells: conditions, recovery, consistency, behaviour, claims, each with an interval."""

from vectalk.evaluation.answers import Generator
from vectalk.evaluation.conditions import CONDITIONS
from vectalk.evaluation.evaluate import evaluate
from vectalk.evaluation.probes.probe import Probe
from vectalk.evaluation.ratings import Ratings, find_ratings
from vectalk.evaluation.result import Evaluation
from vectalk.evaluation.settings import Settings
from vectalk.evaluation.told import Chat, ClientChat

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
    "find_ratings",
]
