"""Concepts: directions of a space with a meaning, their statistics, and shifts along them."""

from vectalk.concepts.concept import Concept
from vectalk.concepts.statistics import Statistics

__all__ = ["Concept", "Statistics"]
