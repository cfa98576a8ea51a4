"""Metrics: one file each, and the intervals they all share."""
