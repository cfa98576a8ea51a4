"""Free questions: what a model answers that no task taught it, next to its base LLM that reads the facts in words."""

from vectalk.evaluation.questions.evaluate import evaluate_questions

__all__ = ["evaluate_questions"]
