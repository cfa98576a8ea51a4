"""The HTTP server: chat completions, embeddings and models in OpenAI's format, and the API of the map."""

from vectalk.serving.app import create_app
from vectalk.serving.limits import Limits
from vectalk.serving.service import Service

__all__ = ["Limits", "Service", "create_app"]
