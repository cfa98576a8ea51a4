"""Plan, build, read and check a corpus."""
