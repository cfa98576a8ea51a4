"""Errors that a user can cause and mend; every message names the thing, the value and the fix."""


class VectalkError(ValueError):
    """Base of all errors that come from input rather than from a bug."""


class SpaceError(VectalkError):
    """A vector space is malformed, missing, or not the one that was expected."""


class UnknownEntityError(VectalkError, KeyError):
    """A title or id is not in the space."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])


class ExpressionError(VectalkError):
    """A point expression cannot be parsed or evaluated."""


class ConceptError(VectalkError):
    """A concept cannot be fitted, found, or used in the space at hand."""


class SuiteError(VectalkError):
    """A suite of tasks is malformed; the message names file and field."""


class CorpusError(VectalkError):
    """A corpus is empty, malformed or does not fit its spaces."""


class PromptError(VectalkError):
    """The slots of a prompt and the vectors given for them do not agree."""


class LanguageModelError(VectalkError):
    """A language model cannot be loaded or cannot take vectors as words."""


class RunError(VectalkError):
    """A folder is not a run, or does not fit the data it is used with."""


class EngineError(VectalkError):
    """An engine cannot answer: it was interrupted, or a server that it talks to refuses."""


class TrainingError(VectalkError):
    """Training cannot start or go on."""


class EvaluationError(VectalkError):
    """An evaluation cannot be made from what is at hand."""


class TeacherError(VectalkError):
    """A teacher cannot write: its settings, its endpoint or its budget do not allow it."""


class BudgetError(TeacherError):
    """The budget of a teacher is used up; what was received is kept."""
