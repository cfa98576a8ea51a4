"""The corpus: planned, built, read and checked."""
