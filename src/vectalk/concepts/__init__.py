"""Concepts: directions of a space that mean something, how sure that is, and moves along them."""

from vectalk.concepts.concept import Concept
from vectalk.concepts.statistics import Statistics

__all__ = ["Concept", "Statistics"]
