"""Curves: what changes along a walk between two entities, or along a concept."""
