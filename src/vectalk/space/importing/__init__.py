"""From files to a space."""
