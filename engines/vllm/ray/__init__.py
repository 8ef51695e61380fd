"""vLLM engines on other machines of a Ray cluster: one Ray job an engine, in a child of its own."""
