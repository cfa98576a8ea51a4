"""Context distillation: the LLM that reads facts in words teaches the same LLM that reads the vector."""
