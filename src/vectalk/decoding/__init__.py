"""Decoding: settings, the loop that all callers share, and streamed text."""

from vectalk.decoding.settings import Decoding

__all__ = ["Decoding"]
