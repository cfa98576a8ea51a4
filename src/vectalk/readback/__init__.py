"""From text back to a vector: frozen text encoders and a map fitted on reference texts alone."""

from vectalk.readback.cache import CachedEncoder
from vectalk.readback.encoder import SentenceEncoder, TextEncoder, TfidfEncoder, check_encoder, get_encoder
from vectalk.readback.readback import ReadBack, SameEncoder, about_vectors
from vectalk.readback.text_space import encode_space, made_by, text_functions

__all__ = [
    "CachedEncoder",
    "ReadBack",
    "SameEncoder",
    "SentenceEncoder",
    "TextEncoder",
    "TfidfEncoder",
    "about_vectors",
    "check_encoder",
    "encode_space",
    "get_encoder",
    "made_by",
    "text_functions",
]
