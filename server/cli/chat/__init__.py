"""A chat in the terminal, what `fjord run` shows."""
