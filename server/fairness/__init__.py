"""Who is next where an engine is full: by weight between owners, then between their keys."""
