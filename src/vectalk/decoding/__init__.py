"""Decoding: settings, the loop that many conversations share, and the text as it comes."""

from vectalk.decoding.settings import Decoding

__all__ = ["Decoding"]
