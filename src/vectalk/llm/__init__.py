"""LLMs: loading one and checking what it can do (`loading`), and a client for those that write or judge texts."""

from vectalk.llm.client import ChatClient
from vectalk.llm.endpoint import Endpoint
from vectalk.llm.opening import open_chat
from vectalk.llm.replies import Message, Reply, ReplyCache
from vectalk.llm.spending import Budget, Spending

__all__ = ["Budget", "ChatClient", "Endpoint", "Message", "Reply", "ReplyCache", "Spending", "open_chat"]
