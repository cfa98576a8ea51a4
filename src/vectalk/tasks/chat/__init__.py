"""Chat with an LLM, messages in and text out: cached, budgeted, paced. Teachers use it, and judges can."""

from vectalk.tasks.chat.client import ChatClient
from vectalk.tasks.chat.endpoint import Endpoint
from vectalk.tasks.chat.replies import Message, Reply, ReplyCache
from vectalk.tasks.chat.spending import Budget, Spending

__all__ = ["Budget", "ChatClient", "Endpoint", "Message", "Reply", "ReplyCache", "Spending"]
