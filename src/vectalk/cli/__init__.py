"""The command line: one file a verb, no logic that the library lacks."""
