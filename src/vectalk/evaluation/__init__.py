"""How much of a vector an answer tells: conditions, recovery, consistency, each with an interval."""

from vectalk.evaluation.answers import Generator
from vectalk.evaluation.conditions import CONDITIONS
from vectalk.evaluation.evaluate import evaluate
from vectalk.evaluation.probe import Probe

__all__ = ["CONDITIONS", "Generator", "Probe", "evaluate"]
