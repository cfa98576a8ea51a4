"""Talk: load a run, ask about any point, and see what the answer stands on."""

from vectalk.decoding.settings import Decoding
from vectalk.talk.answer import Answer, Influence, to_arrow
from vectalk.talk.elm import ELM
from vectalk.talk.engine import Engine, TransformersEngine

__all__ = ["ELM", "Answer", "Decoding", "Engine", "Influence", "TransformersEngine", "to_arrow"]
