"""From ratings to vectors of items and users."""
