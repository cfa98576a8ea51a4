"""Talk to any point of an embedding space.

Heavy modules load on first use, so that `import vectalk` stays as quick as `import numpy`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vectalk.version import __version__

_HOMES = {
    "VectorSpace": "vectalk.space",
    "Point": "vectalk.space",
    "Concept": "vectalk.concepts",
    "Suite": "vectalk.tasks",
    "Task": "vectalk.tasks",
    "Corpus": "vectalk.tasks",
    "ElmAdapter": "vectalk.model",
    "ElmModel": "vectalk.model",
    "ELM": "vectalk.talk",
    "Answer": "vectalk.talk",
    "VectalkError": "vectalk.errors",
}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from vectalk.concepts import Concept as Concept
    from vectalk.errors import VectalkError as VectalkError
    from vectalk.model import ElmAdapter as ElmAdapter
    from vectalk.model import ElmModel as ElmModel
    from vectalk.space import Point as Point
    from vectalk.space import VectorSpace as VectorSpace
    from vectalk.talk import ELM as ELM
    from vectalk.talk import Answer as Answer
    from vectalk.tasks import Corpus as Corpus
    from vectalk.tasks import Suite as Suite
    from vectalk.tasks import Task as Task


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vectalk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
