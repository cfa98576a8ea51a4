"""Talk to any point of an embedding space.

Heavy modules load on first use, so that `import vectalk` stays as quick as `import numpy`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vectalk.version import __version__

_HOMES = {
    "VectorSpace": "vectalk.space",
    "Point": "vectalk.space",
    "Support": "vectalk.space",
    "Concept": "vectalk.concepts",
    "Suite": "vectalk.tasks",
    "Task": "vectalk.tasks",
    "load_suite": "vectalk.tasks",
    "FactsTeacher": "vectalk.tasks",
    "Corpus": "vectalk.tasks",
    "build_corpus": "vectalk.tasks",
    "ElmAdapter": "vectalk.model",
    "ElmModel": "vectalk.model",
    "Run": "vectalk.model.run",
    "TrainConfig": "vectalk.training",
    "train": "vectalk.training",
    "make_base_llm": "vectalk.training.base_llm",
    "ELM": "vectalk.talk",
    "Answer": "vectalk.talk",
    "Decoding": "vectalk.decoding",
    "evaluate": "vectalk.evaluation",
    "Evaluation": "vectalk.evaluation",
    "VectalkError": "vectalk.errors",
}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from vectalk.concepts import Concept as Concept
    from vectalk.decoding import Decoding as Decoding
    from vectalk.errors import VectalkError as VectalkError
    from vectalk.evaluation import Evaluation as Evaluation
    from vectalk.evaluation import evaluate as evaluate
    from vectalk.model import ElmAdapter as ElmAdapter
    from vectalk.model import ElmModel as ElmModel
    from vectalk.model.run import Run as Run
    from vectalk.space import Point as Point
    from vectalk.space import Support as Support
    from vectalk.space import VectorSpace as VectorSpace
    from vectalk.talk import ELM as ELM
    from vectalk.talk import Answer as Answer
    from vectalk.tasks import Corpus as Corpus
    from vectalk.tasks import FactsTeacher as FactsTeacher
    from vectalk.tasks import Suite as Suite
    from vectalk.tasks import Task as Task
    from vectalk.tasks import build_corpus as build_corpus
    from vectalk.tasks import load_suite as load_suite
    from vectalk.training import TrainConfig as TrainConfig
    from vectalk.training import train as train
    from vectalk.training.base_llm import make_base_llm as make_base_llm


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vectalk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
