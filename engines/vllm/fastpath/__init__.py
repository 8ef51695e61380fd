"""Short ways of a token past vLLM's own; each part can be left out."""
