"""The metrics, one file each, and the bootstrap intervals that all metrics use."""
