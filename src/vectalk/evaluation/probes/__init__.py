"""Probes: small models that read attributes from a vector, without an LLM."""
