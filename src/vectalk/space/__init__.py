"""Vectors that live together: spaces, points, neighbours, geometry, support."""

from vectalk.space.point import Point
from vectalk.space.support import Support
from vectalk.space.vector_space import VectorSpace

__all__ = ["Point", "Support", "VectorSpace"]
