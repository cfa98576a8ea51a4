"""Teachers: what writes the target texts (never used at ask time)."""
