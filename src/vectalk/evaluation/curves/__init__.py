"""Curves: how answers change between two entities, along a concept, and with the number of ratings of a user."""
