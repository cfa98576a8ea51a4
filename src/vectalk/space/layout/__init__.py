"""The layout of a space: where its entities lie on a map, and the vectors that places of the map stand for."""

from vectalk.space.layout.accuracy import Accuracy
from vectalk.space.layout.build import build_layout
from vectalk.space.layout.layout import Layout

__all__ = ["Accuracy", "Layout", "build_layout"]
