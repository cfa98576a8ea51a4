"""The demo: a world whose truth is known, and the small base LLM that it talks with."""
