"""LLMs: load a base LLM and check what it can do (`loading`), and ask LLMs that write or judge texts (`open_chat`)."""

from vectalk.llm.client import ChatClient
from vectalk.llm.endpoint import Endpoint
from vectalk.llm.opening import open_chat
from vectalk.llm.replies import Message, Reply, ReplyCache
from vectalk.llm.spending import Budget, Spending

__all__ = ["Budget", "ChatClient", "Endpoint", "Message", "Reply", "ReplyCache", "Spending", "open_chat"]
