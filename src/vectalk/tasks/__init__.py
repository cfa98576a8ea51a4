"""Tasks (questions), teachers (which write target texts), and corpora of both."""

from vectalk.tasks.corpus.build import build_corpus
from vectalk.tasks.corpus.corpus import Corpus, Example
from vectalk.tasks.suite import Suite, Task
from vectalk.tasks.suite_loading import load_suite
from vectalk.tasks.teachers.facts import Assignment, FactsTeacher, Teacher

__all__ = ["Assignment", "Corpus", "Example", "FactsTeacher", "Suite", "Task", "Teacher", "build_corpus", "load_suite"]
