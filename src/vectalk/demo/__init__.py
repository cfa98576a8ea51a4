"""The demo: films and viewers of MovieLens, or an invented world of islands whose facts are all known."""
