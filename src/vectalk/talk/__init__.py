"""Talk: load a run, ask about any point, and see what the answer stands on."""

from vectalk.talk.answer import Answer
from vectalk.talk.elm import ELM

__all__ = ["ELM", "Answer"]
