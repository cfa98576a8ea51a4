"""Free questions, which need no task: many training questions about any space, and unseen ones for evaluation."""

from vectalk.tasks.questions.free_question import UNSEEN, FreeQuestion, read_questions, unseen_questions
from vectalk.tasks.questions.training import training_questions

__all__ = ["UNSEEN", "FreeQuestion", "read_questions", "training_questions", "unseen_questions"]
