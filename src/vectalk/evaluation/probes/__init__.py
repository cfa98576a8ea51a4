"""Probes: what can be read from a vector directly, without an LLM."""
